// Rows of a table that grows, given to ids as they come. An id is any 64-bit number.
//
// Row 0 belongs to no id: all ids without a row share it. An id gets a row when it occurs the
// `min_count`th time: one of the next few rows around the table whose id has not occurred for more
// than `expire_after` steps, else a new one, else, where there are `max_rows`, none.
//
// All state is in arrays of the caller, which are saved and copied as they are. Writers need them
// for themselves; readers may be several.
#ifndef FASTW2V_CORE_ID_TABLE_H_
#define FASTW2V_CORE_ID_TABLE_H_

#include <cstdint>
#include <vector>

#include "csrc/core/parallel.h"
#include "csrc/core/status.h"

namespace fastw2v {

struct IdRecord {
  int64_t id;
  int64_t seen;   // the last step in which the id occurred, where rows expire
  int64_t birth;  // 1 of the first row that was given, 2 of the second, whichever rows these are
};

struct IdSlot {
  int64_t id;
  int64_t row;  // 0: nothing is here
};

struct IdCandidate {
  int64_t id;
  int64_t count;  // how often it has occurred; 0: nothing is here
};

struct IdCounters {
  int64_t rows;    // in use, row 0 included
  int64_t births;  // rows given so far
  int64_t steps;
  int64_t hand;  // the row that was last looked at for one that can be given anew
  int64_t seed;  // of the first values of rows
};

struct IdTable {
  static constexpr int64_t kMaxCapacity = int64_t{1} << 31;
  // Ids without a row whose counts are kept, in buckets that keep the latest.
  static constexpr int64_t kBucketSize = 8, kCandidates = int64_t{1} << 20;

  int64_t capacity = 0;
  IdRecord* records = nullptr;  // [capacity], by row
  int64_t num_slots = 0;
  IdSlot* slots = nullptr;  // [num_slots], by hash: open addressing
  IdCounters* counters = nullptr;
  IdCandidate* candidates = nullptr;  // [kCandidates]; null where an id gets its row at once

  // Of a table of this capacity: a power of 2, at most two thirds of it in use.
  static int64_t NumSlots(int64_t capacity);
};

struct IdRules {
  int64_t min_count = 1;
  int64_t max_rows = IdTable::kMaxCapacity - 1;  // row 0 not included
  int64_t expire_after = 0;                      // steps; 0: rows are never given anew
  bool zero_is_padding = false;                  // the id 0 has no row
};

// Errors where arrays were changed by others, in a way that could lead out of them.
Status CheckIdTable(const IdTable& table);

// rows[i] of ids[i], 0 where it has none; the number of these.
int64_t FindRows(const IdTable& table, const int64_t* ids, int64_t count, const Parallel& parallel,
                 int64_t* rows);

// How many different ids FindRows has found no row for, padding aside: at most so many get one.
int64_t NumNewIds(const int64_t* ids, const int64_t* rows, int64_t count, const IdRules& rules);

// A step: rows that FindRows has found are seen, and the other ids, in order, get rows where the
// rules say so. `capacity` is at least the rows in use and NumNewIds of the ids, or `max_rows` + 1.
// The rows given are appended to `born`, which has memory for as many.
void GiveRows(const IdTable& table, const int64_t* ids, int64_t count, const IdRules& rules,
              const Parallel& parallel, int64_t* rows, std::vector<int64_t>* born);

// Fills a larger table, whose memory is not yet written, with the records and slots of another.
void CopyIdTable(const IdTable& from, const IdTable& to);

// The first values of a row, which depend on the seed and the id alone: uniform in [low, high).
template <typename T>
void DrawRow(int64_t seed, int64_t id, double low, double high, int64_t dim, T* row);

}  // namespace fastw2v

#endif  // FASTW2V_CORE_ID_TABLE_H_
