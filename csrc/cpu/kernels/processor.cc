#include "csrc/cpu/kernels/processor.h"

#ifdef __x86_64__
#include <cpuid.h>
#ifdef __linux__
#include <sys/syscall.h>
#include <unistd.h>
#endif

#include <cstdint>

namespace fastw2v::cpu {

namespace {

struct Registers {
  uint32_t a = 0, b = 0, c = 0, d = 0;
};

// All zero where the processor has no such leaf.
Registers Cpuid(uint32_t leaf, uint32_t subleaf) {
  Registers r;
  if (__get_cpuid_max(0, nullptr) >= leaf) __cpuid_count(leaf, subleaf, r.a, r.b, r.c, r.d);
  return r;
}

bool Bit(uint32_t bits, int i) { return (bits >> i & 1) != 0; }

// XCR0: which registers the system saves.
uint32_t SavedRegisters() {
  if (!Bit(Cpuid(1, 0).c, 27)) return 0;  // OSXSAVE: xgetbv may be used
  uint32_t low, high;
  __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  return low;
}

bool AllowsTiles() {
#ifdef __linux__
  // ARCH_REQ_XCOMP_PERM for XFEATURE_XTILEDATA, which Linux before 5.16 refuses as unknown.
  return syscall(SYS_arch_prctl, 0x1023, 18) == 0;
#else
  return false;
#endif
}

bool FindAmxBFloat16() {
  const uint32_t features = Cpuid(7, 0).d, saved = SavedRegisters();
  const bool has_bfloat16 = Bit(features, 22), has_tiles = Bit(features, 24);
  const bool saves_tiles = Bit(saved, 17) && Bit(saved, 18);
  if (!has_bfloat16 || !has_tiles || !saves_tiles || Cpuid(0x1d, 0).a < 1) return false;
  // Palette 1 has to hold the 8 tiles of 16 rows of 64 bytes that the kernels set up.
  const Registers palette = Cpuid(0x1d, 1);
  const uint32_t tile_bytes = palette.a >> 16, row_bytes = palette.b & 0xffff;
  const uint32_t tiles = palette.b >> 16, rows = palette.c & 0xffff;
  return tile_bytes >= 1024 && row_bytes >= 64 && tiles >= 8 && rows >= 16 && AllowsTiles();
}

}  // namespace

bool HasAvx512BFloat16() { return Cpuid(7, 0).a >= 1 && Bit(Cpuid(7, 1).a, 5); }

bool HasSlowAvx512BFloat16() {
  const Registers vendor = Cpuid(0, 0);  // "GenuineIntel"
  return vendor.b == 0x756e6547 && vendor.d == 0x49656e69 && vendor.c == 0x6c65746e;
}

bool HasAmxBFloat16() {
  static const bool has = FindAmxBFloat16();
  return has;
}

}  // namespace fastw2v::cpu

#endif  // __x86_64__
