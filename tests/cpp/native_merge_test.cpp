// The merge of Python and native stacks, case by case.
#include <doctest/doctest.h>

#include <string>

#include "native/merge.h"

using namespace spprof::native;

namespace {

// Python frames as letters, innermost first: upper case begins a C call of the eval loop, '.' is a
// mark without a frame. Native frames: 'e' eval loop, 'h' hidden, 'o' outermost, 'b' stack base,
// digits are shown.
struct Case {
    std::string python;
    std::string native;
    End end = End::complete;
    bool python_truncated = false;
};

struct Result {
    std::string frames;
    bool fits;
};

Result merged(const Case& given) {
    std::vector<PythonFrame> python;
    for (const char c : given.python) {
        python.push_back({c == '.' || (c >= 'A' && c <= 'Z'), c != '.'});
    }
    std::vector<Role> native;
    for (const char c : given.native) {
        native.push_back(c == 'e'   ? Role::eval_loop
                         : c == 'h' ? Role::hidden
                         : c == 'o' ? Role::outermost
                         : c == 'b' ? Role::stack_base
                                    : Role::shown);
    }
    std::vector<MergedFrame> out;
    const bool fits = merge({python.data(), python.size(), given.python_truncated},
                            {native.data(), native.size(), given.end}, out);
    std::string frames;
    for (const MergedFrame& frame : out) {
        frames += frame.native ? given.native[frame.index] : given.python[frame.index];
    }
    return {frames, fits};
}

}  // namespace

TEST_CASE("each eval loop frame stands for the Python frames up to the next entry") {
    const Result result =
        merged({"aB"
                "cdE",
                "1he23he4hoo"});
    CHECK(result.frames == "1aB23cdE4");
    CHECK(result.fits);
}

TEST_CASE("callbacks through several C functions keep their order") {
    CHECK(merged({"ABC", "0e1he2e3"}).frames == "0A1B2C3");
}

TEST_CASE("a stack of Python frames only") {
    const Result result = merged({"abcD", "ehho"});
    CHECK(result.frames == "abcD");
    CHECK(result.fits);
}

TEST_CASE("code of the interpreter's own JIT is part of the eval loop") {
    constexpr Role kEval = Role::eval_loop;
    constexpr Role kShown = Role::shown;
    constexpr Role kHidden = Role::hidden;
    constexpr Role kGenerated = Role::generated;
    constexpr Role kEntry = Role::jit_entry;
    const auto resolved = [](std::vector<Role> roles) {
        hide_jit(roles);
        return roles;
    };
    using Roles = std::vector<Role>;
    CHECK(resolved({kGenerated, kGenerated, kEval}) == Roles{kHidden, kHidden, kEval});
    CHECK(resolved({kShown, kGenerated, kEntry, kEval}) == Roles{kShown, kHidden, kHidden, kEval});
    // Whoever else generates code is called through functions.
    const Roles others[] = {{kGenerated, kGenerated, kHidden, kEval},
                            {kGenerated, kEval},
                            {kGenerated, kShown, kEval},
                            {kGenerated, kGenerated}};
    for (const Roles& roles : others) {
        CHECK(resolved(roles) == roles);
    }
}

TEST_CASE("a thread without Python shows its native frames, without start-up code") {
    CHECK(merged({"", "123oo"}).frames == "123");
    CHECK(merged({"", "123oo"}).fits);
    SUBCASE("but never nothing") { CHECK(merged({"", "ooo"}).frames == "o"); }
}

TEST_CASE("start-up functions stay where something shown called them") {
    CHECK(merged({"A", "eo1o"}).frames == "Ao1");
}

TEST_CASE("a call of the eval loop whose frame is not linked yet is passed over") {
    CHECK(merged({"B", "e1eh"}).frames == "1B");
    CHECK(merged({"B", "e1eh"}).fits);
    CHECK(merged({"B", "3e1eh"}).frames == "31B");
    SUBCASE("deep below it something else is wrong") {
        const Result result = merged({"B", "1234e5eh"});
        CHECK(result.frames == "B");
        CHECK_FALSE(result.fits);
    }
}

TEST_CASE("a mark without a frame takes one call of the eval loop") {
    CHECK(merged({"A.C", "e1e2e3"}).frames == "A12C3");
    CHECK(merged({".C", "1e2e3"}).frames == "12C3");
}

TEST_CASE("when the counts disagree the Python stack stays as it was") {
    SUBCASE("too few calls") {
        const Result result = merged({"aBC", "1e2"});
        CHECK(result.frames == "aBC");
        CHECK_FALSE(result.fits);
    }
    SUBCASE("too many calls") {
        const Result result = merged({"A", "1e2e3e"});
        CHECK(result.frames == "A");
        CHECK_FALSE(result.fits);
    }
}

TEST_CASE("a walk that ended early gives the frames that are certain, and says so") {
    const Result result = merged({"ABC", "1e2", End::no_info});
    CHECK(result.frames == "1A2BC");
    CHECK_FALSE(result.fits);
    SUBCASE("before any call") {
        CHECK(merged({"aB", "7", End::bad_memory}).frames == "7aB");
        CHECK_FALSE(merged({"aB", "7", End::bad_memory}).fits);
    }
}

TEST_CASE("the native limit is no disagreement") {
    const Result result = merged({"ABC", "1e2e", End::truncated});
    CHECK(result.frames == "1A2BC");
    CHECK(result.fits);
}

TEST_CASE("the Python limit is no disagreement") {
    const Result result = merged({"aBc", "1e2e3e4", End::complete, true});
    CHECK(result.frames == "1aB2c3");
    CHECK(result.fits);
}

TEST_CASE("a coroutine's own stack ends at its first function") {
    const Result result = merged({"AB",
                                  "1e2eb"
                                  "3e4e",
                                  End::no_info});
    CHECK(result.frames == "1A2B");
    CHECK(result.fits);
}
