// Regions of a program: `spprof.region` as Python sees it, and which of them a visited thread is
// in. The innermost region is the value of a context variable, so it follows tasks and whatever
// else runs in a copy of a context. Without Python.h, except for what registers the type.
//
// Part of it is reached from a visit of a thread, and is in region_label.cpp.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "interpreter/python_thread.h"

struct _object;  // NOLINT(bugprone-reserved-identifier): a PyObject

namespace spprof::interpreter {

// One time that a region was entered: with it all that are around it. 0: none.
using RegionId = std::uint64_t;

// --- reached from a visit ------------------------------------------------------------------------

// The region that a thread is in: the calling one, or one that stands still.
RegionId region_of(ThreadState* thread) noexcept;

// --- for whoever turns records into rows ---------------------------------------------------------

using Labels = std::vector<std::pair<std::string, std::string>>;  // outermost first

// A new round of reading records begins: of regions that were left before the round before, nobody
// asks any more.
void begin_round_of_regions() noexcept;
// The labels of a region that was met, whether or not it was left since. False where nothing is
// known of it.
bool labels_of_region(RegionId region, Labels& labels);
// Nobody asks any more of what was left.
void forget_left_regions() noexcept;

// --- around a fork -------------------------------------------------------------------------------

void lock_regions_for_fork();
void unlock_regions_after_fork();

// --- Python's ------------------------------------------------------------------------------------

// A new reference to the type that `spprof.region` derives from; nullptr with an exception.
_object* region_type();
// A new reference to what does the same as a function, in the regions that the caller is in; the
// function itself where it is in none. nullptr with an exception.
_object* in_these_regions(_object* function);
// A new reference to the labels of the regions that a context is in, a tuple of pairs, outermost
// first; nullptr with an exception.
_object* labels_in(_object* context);
// False where contexts are not what we know them to be: then regions are never met.
bool regions_can_be_read() noexcept;
// Regions that are entered now.
std::size_t regions_entered() noexcept;

}  // namespace spprof::interpreter
