#include "csrc/core/id_table.h"

#include <algorithm>
#include <cstddef>
#include <cstring>
#include <vector>

#include "csrc/core/random.h"
#include "csrc/core/types.h"
#include "csrc/cpu/kernels/kernels.h"

namespace fastw2v {

namespace {

constexpr int64_t kIdsPerTask = 1024;
// How many rows are looked at for one that can be given anew: expired ones are found at a fraction
// of the cost of the rows that are given.
constexpr int64_t kLooks = 16;

// Steele, Lea and Flood, "Fast splittable pseudorandom number generators", OOPSLA 2014: the mixing
// function of SplitMix64.
uint64_t Hash(int64_t id) {
  uint64_t hash = static_cast<uint64_t>(id) + 0x9e3779b97f4a7c15;
  hash = (hash ^ hash >> 30) * 0xbf58476d1ce4e5b9;
  hash = (hash ^ hash >> 27) * 0x94d049bb133111eb;
  return hash ^ hash >> 31;
}

// Where the search for an id begins.
int64_t Home(const IdTable& table, uint64_t hash) {
  return static_cast<int64_t>(hash & static_cast<uint64_t>(table.num_slots - 1));
}

int64_t Next(const IdTable& table, int64_t slot) { return (slot + 1) & (table.num_slots - 1); }

// The slot of an id, or the empty one where it belongs, at or behind its home. Ends, as there are
// empty slots; where others have filled them, at any slot.
int64_t Place(const IdTable& table, int64_t id, int64_t slot) {
  for (int64_t tried = 0; tried < table.num_slots; ++tried, slot = Next(table, slot)) {
    if (table.slots[slot].row == 0 || table.slots[slot].id == id) break;
  }
  return slot;
}

int64_t PlaceOf(const IdTable& table, int64_t id) {
  return Place(table, id, Home(table, Hash(id)));
}

// Empties a slot, and moves back those behind it that would no longer be found.
void Empty(const IdTable& table, int64_t slot) {
  int64_t next = Next(table, slot);
  for (int64_t tried = 0; tried < table.num_slots; ++tried, next = Next(table, next)) {
    if (table.slots[next].row == 0) break;
    const int64_t mask = table.num_slots - 1;
    const int64_t distance = (next - Home(table, Hash(table.slots[next].id))) & mask;
    if (distance < ((next - slot) & mask)) continue;
    table.slots[slot] = table.slots[next];
    slot = next;
  }
  table.slots[slot] = {0, 0};
}

// How often an id without a row has occurred, this time included. The one whose last occurrence is
// longest ago makes room in its bucket.
int64_t Count(const IdTable& table, int64_t id, uint64_t hash) {
  constexpr uint64_t kBuckets = IdTable::kCandidates / IdTable::kBucketSize;
  IdCandidate* bucket = table.candidates + (hash >> 32) % kBuckets * IdTable::kBucketSize;
  int64_t i = 0;
  while (i < IdTable::kBucketSize - 1 && bucket[i].count != 0 && bucket[i].id != id) ++i;
  const int64_t before = bucket[i].count != 0 && bucket[i].id == id ? bucket[i].count : 0;
  std::copy_backward(bucket, bucket + i, bucket + i + 1);
  bucket[0] = {id, before + 1};
  return before + 1;
}

// Ends the counting of an id that Count has just counted.
void EndCount(const IdTable& table, uint64_t hash) {
  constexpr uint64_t kBuckets = IdTable::kCandidates / IdTable::kBucketSize;
  IdCandidate* bucket = table.candidates + (hash >> 32) % kBuckets * IdTable::kBucketSize;
  std::copy(bucket + 1, bucket + IdTable::kBucketSize, bucket);
  bucket[IdTable::kBucketSize - 1] = {0, 0};
}

// A row for a new id, 0 where there is none.
int64_t FreeRow(const IdTable& table, const IdRules& rules) {
  IdCounters& counters = *table.counters;
  const int64_t looks = rules.expire_after > 0 ? std::min(kLooks, counters.rows - 1) : 0;
  for (int64_t i = 0; i < looks; ++i) {
    counters.hand = counters.hand + 1 < counters.rows ? counters.hand + 1 : 1;
    const IdRecord& record = table.records[counters.hand];
    if (counters.steps - record.seen <= rules.expire_after) continue;
    const int64_t slot = PlaceOf(table, record.id);
    if (table.slots[slot].row == counters.hand) Empty(table, slot);
    return counters.hand;
  }
  return counters.rows < std::min(rules.max_rows + 1, table.capacity) ? counters.rows++ : 0;
}

// The row of an id that had none when the step began.
int64_t GiveRow(const IdTable& table, int64_t id, const IdRules& rules,
                std::vector<int64_t>* born) {
  const IdSlot& slot = table.slots[PlaceOf(table, id)];
  if (slot.row != 0) {
    // Where others have written into the slots, it may belong to another id, or to no row.
    return slot.id == id && slot.row > 0 && slot.row < table.counters->rows ? slot.row : 0;
  }
  const uint64_t hash = Hash(id);
  if (table.candidates != nullptr && Count(table, id, hash) < rules.min_count) return 0;
  const int64_t row = FreeRow(table, rules);
  if (row == 0) return 0;
  if (table.candidates != nullptr) EndCount(table, hash);
  table.records[row] = {id, table.counters->steps, ++table.counters->births};
  table.slots[PlaceOf(table, id)] = {id, row};
  born->push_back(row);
  return row;
}

template <typename Body>
void ForIds(const Parallel& parallel, int64_t count, int64_t cost, const Body& body) {
  const int64_t num_tasks = (count + kIdsPerTask - 1) / kIdsPerTask;
  parallel.For(num_tasks, std::min(count, kIdsPerTask) * cost, [&](int64_t task, int) {
    body(task, task * kIdsPerTask, std::min(count, (task + 1) * kIdsPerTask));
  });
}

}  // namespace

int64_t IdTable::NumSlots(int64_t capacity) {
  int64_t slots = 2;
  while (2 * slots < 3 * capacity) slots *= 2;
  return slots;
}

Status CheckIdTable(const IdTable& table) {
  const IdCounters& counters = *table.counters;
  if (table.capacity < 1 || table.capacity > IdTable::kMaxCapacity ||
      table.num_slots != IdTable::NumSlots(table.capacity)) {
    return InvalidArgument("a table of ids has ", table.capacity, " records and ", table.num_slots,
                           " slots: variables of one table belong together");
  }
  if (counters.rows < 1 || counters.rows > table.capacity || counters.hand < 0 ||
      counters.hand >= table.capacity) {
    return InvalidArgument("a table of ids with memory for ", table.capacity, " rows has ",
                           counters.rows, " in use, and looked last at row ", counters.hand,
                           ": variables of one table belong together");
  }
  return Status();
}

int64_t FindRows(const IdTable& table, const int64_t* ids, int64_t count, const Parallel& parallel,
                 int64_t* rows) {
  constexpr int64_t kBlock = 32;  // ids whose slots are asked for before they are read
  std::vector<int64_t> missing((count + kIdsPerTask - 1) / kIdsPerTask);
  ForIds(parallel, count, /*cost=*/60, [&](int64_t task, int64_t first, int64_t last) {
    int64_t homes[kBlock];
    for (int64_t begin = first; begin < last; begin += kBlock) {
      const int64_t size = std::min(kBlock, last - begin);
      for (int64_t i = 0; i < size; ++i) {
        homes[i] = Home(table, Hash(ids[begin + i]));
        __builtin_prefetch(&table.slots[homes[i]]);
      }
      for (int64_t i = 0; i < size; ++i) {
        const IdSlot& slot = table.slots[Place(table, ids[begin + i], homes[i])];
        const bool found =
            slot.id == ids[begin + i] && slot.row > 0 && slot.row < table.counters->rows;
        rows[begin + i] = found ? slot.row : 0;
        missing[task] += !found;
      }
    }
  });
  int64_t total = 0;
  for (const int64_t one : missing) total += one;
  return total;
}

int64_t NumNewIds(const int64_t* ids, const int64_t* rows, int64_t count, const IdRules& rules) {
  std::vector<int64_t> found;
  found.reserve(static_cast<std::size_t>(std::count(rows, rows + count, 0)));
  for (int64_t i = 0; i < count; ++i) {
    if (rows[i] == 0 && (ids[i] != 0 || !rules.zero_is_padding)) found.push_back(ids[i]);
  }
  std::sort(found.begin(), found.end());
  return std::unique(found.begin(), found.end()) - found.begin();
}

void GiveRows(const IdTable& table, const int64_t* ids, int64_t count, const IdRules& rules,
              const Parallel& parallel, int64_t* rows, std::vector<int64_t>* born) {
  const int64_t step = ++table.counters->steps;
  const int64_t marked = rules.expire_after > 0 ? count : 0;
  ForIds(parallel, marked, /*cost=*/10, [&](int64_t, int64_t first, int64_t last) {
    constexpr int64_t kAhead = 16;
    for (int64_t i = first; i < last; ++i) {
      if (i + kAhead < last) __builtin_prefetch(&table.records[rows[i + kAhead]].seen, 1);
      // Several threads may say so of one row.
      if (rows[i] != 0) __atomic_store_n(&table.records[rows[i]].seen, step, __ATOMIC_RELAXED);
    }
  });
  for (int64_t i = 0; i < count; ++i) {
    if (rows[i] != 0 || (rules.zero_is_padding && ids[i] == 0)) continue;
    rows[i] = GiveRow(table, ids[i], rules, born);
  }
}

void CopyIdTable(const IdTable& from, const IdTable& to) {
  std::copy_n(from.records, from.capacity, to.records);
  std::fill(to.records + from.capacity, to.records + to.capacity, IdRecord{0, 0, 0});
  std::fill_n(to.slots, to.num_slots, IdSlot{0, 0});
  for (int64_t i = 0; i < from.num_slots; ++i) {
    const IdSlot& slot = from.slots[i];
    if (slot.row != 0) to.slots[PlaceOf(to, slot.id)] = slot;
  }
}

template <typename T>
void DrawRow(int64_t seed, int64_t id, double low, double high, int64_t dim, T* row) {
  using A = Accumulator<T>;
  constexpr int64_t kWords = 4;
  const RandomStream stream(seed, 0, id);
  for (int64_t i = 0; i < dim; i += kWords) {
    const PhiloxBlock block = stream[i / kWords];
    A values[kWords];
    for (int64_t k = 0; k < kWords; ++k) {
      values[k] = static_cast<A>(low + (high - low) * (block.word[k] * 0x1p-32));
    }
    cpu::ConvertRow(values, row + i, std::min(kWords, dim - i));
  }
}

#define FASTW2V_INSTANTIATE(T) \
  template void DrawRow<T>(int64_t, int64_t, double, double, int64_t, T*);
FASTW2V_INSTANTIATE(float)
FASTW2V_INSTANTIATE(double)
FASTW2V_INSTANTIATE(Half)
FASTW2V_INSTANTIATE(BFloat16)
#undef FASTW2V_INSTANTIATE

}  // namespace fastw2v
