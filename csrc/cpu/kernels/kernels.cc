#include "csrc/cpu/kernels/kernels.h"

#include <atomic>
#include <cstdlib>
#include <vector>

#include "csrc/cpu/kernels/processor.h"

namespace fastw2v::cpu {

namespace FASTW2V_BASELINE {
extern const KernelTable kTable;
}
#ifdef FASTW2V_HAVE_AVX2
namespace avx2 {
extern const KernelTable kTable;
}
#endif
#ifdef FASTW2V_HAVE_AVX512
namespace avx512 {
extern const KernelTable kTable;
}
#endif
#ifdef FASTW2V_HAVE_AVX512_BF16
namespace avx512_bf16 {
extern const KernelTable kTable;
}
#endif
#ifdef FASTW2V_HAVE_AMX
namespace amx {
extern const KernelTable kTable;
}
#endif

namespace {

// Each set needs those before it.
std::vector<const KernelTable*> Available() {
  std::vector<const KernelTable*> tables = {&FASTW2V_BASELINE::kTable};
#if defined(FASTW2V_HAVE_AVX2)
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") &&
      __builtin_cpu_supports("f16c")) {
    tables.push_back(&avx2::kTable);
  }
#endif
#if defined(FASTW2V_HAVE_AVX512)
  if (tables.size() == 2 && __builtin_cpu_supports("avx512f") &&
      __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") &&
      __builtin_cpu_supports("avx512vl")) {
    tables.push_back(&avx512::kTable);
  }
#endif
#if defined(FASTW2V_HAVE_AVX512_BF16)
  if (tables.size() == 3 && HasAvx512BFloat16()) tables.push_back(&avx512_bf16::kTable);
#endif
#if defined(FASTW2V_HAVE_AMX)
  if (tables.size() == 4 && HasAmxBFloat16()) tables.push_back(&amx::kTable);
#endif
  return tables;
}

// The last, unless all that it adds would slow down what uses it: without its products, operands
// are rounded to bfloat16 and multiplied in float32.
const KernelTable* Best() {
  const std::vector<const KernelTable*> tables = Available();
#if defined(FASTW2V_HAVE_AVX512_BF16)
  const bool is_slow = tables.back() == &avx512_bf16::kTable && HasSlowAvx512BFloat16();
  if (is_slow) return tables[tables.size() - 2];
#endif
  return tables.back();
}

const KernelTable* Find(const std::string& name) {
  for (const KernelTable* table : Available()) {
    if (name == table->name) return table;
  }
  return nullptr;
}

std::atomic<const KernelTable*>& Active() {
  static std::atomic<const KernelTable*> active = [] {
    const char* wanted = std::getenv("FASTW2V_ISA");
    const KernelTable* table = wanted == nullptr ? nullptr : Find(wanted);
    return table == nullptr ? Best() : table;
  }();
  return active;
}

Status Unavailable(const std::string& name) {
  std::string have;
  for (const std::string& available : AvailableKernels()) {
    have += (have.empty() ? "" : ", ") + available;
  }
  return InvalidArgument(
      "FASTW2V_ISA = ", name,
      " is not one of the instruction sets that this processor and build have: ", have);
}

}  // namespace

const KernelTable& ActiveKernels() { return *Active().load(std::memory_order_relaxed); }

std::vector<std::string> AvailableKernels() {
  std::vector<std::string> names;
  for (const KernelTable* table : Available()) names.push_back(table->name);
  return names;
}

Status SelectKernels(const std::string& name) {
  const KernelTable* table = Find(name);
  if (table == nullptr) return Unavailable(name);
  Active().store(table);
  return Status();
}

Status CheckKernelChoice() {
  static const Status status = [] {
    const char* wanted = std::getenv("FASTW2V_ISA");
    return wanted == nullptr || Find(wanted) != nullptr ? Status() : Unavailable(wanted);
  }();
  return status;
}

}  // namespace fastw2v::cpu
