// Owns what makers of code write down for `perf`: the map /tmp/perf-PID.map, and a dump
// jit-PID.dump that they keep mapped. Either grows while the program runs, may be large, and may
// hold anything. Never used by the handler.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "native/byte_source.h"

namespace spprof::native {

// One such file, as far as it was read. Of each function only its place is kept.
class CodeListing {
public:
    // Reads on for at most `most` bytes. A file that was replaced is read from its beginning.
    void read(const std::string& path, uint64_t most);
    void read(const ByteSource& file, uint64_t most);

    // What was written last of this address; empty when nothing was. `start`: of its function.
    std::string name_at(uint64_t address, uint64_t& start) const;

    size_t bytes() const { return entries_.capacity() * sizeof(Entry); }

private:
    struct Entry {
        uint64_t start;
        uint64_t size;
        uint64_t name;  // where it is in the file
    };

    uint64_t read_lines(const ByteSource& file, uint64_t end);
    uint64_t read_records(const ByteSource& file, uint64_t end);
    void add(const Entry& entry);

    std::string path_;
    FileStatus status_;
    uint64_t read_ = 0;  // so many bytes
    bool dump_ = false;
    std::vector<Entry> entries_;
};

class PublishedCode {
public:
    // Reads on in what this process's makers of code wrote. `look`: the memory map is searched for
    // a dump, which takes a millisecond.
    void read(bool look, uint64_t most);

    std::string name_at(uint64_t address, uint64_t& start) const;

    size_t bytes() const { return map_.bytes() + dump_.bytes(); }

private:
    int process_ = 0;  // a forked child has files of its own
    std::string dump_path_;
    CodeListing map_;
    CodeListing dump_;
};

}  // namespace spprof::native
