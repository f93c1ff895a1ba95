// Owns the merge of the Python and the native stack of one sample into one. Pure: knows neither
// what a Python frame is nor whose code an address is, only their roles.
#include "native/merge.h"

#include <algorithm>

namespace spprof::native {
namespace {

// Frames of the eval loop's own prologue and epilogue: it has called at most this deep while its
// Python frame is not linked yet or not any more.
constexpr size_t kUnlinkedDepth = 2;

class Merger {
public:
    Merger(const PythonStack& python, const NativeStack& native, std::vector<MergedFrame>& out)
        : python_(python), native_(native), out_(out) {
        const Role* end = native.roles + native.count;
        const Role* base = std::find(native.roles, end, Role::stack_base);
        reached_end_ = base != end || native.end == End::complete;
        count_ = static_cast<size_t>(base - native.roles);
    }

    bool run() {
        out_.clear();
        const size_t calls =
            static_cast<size_t>(std::count(native_.roles, native_.roles + count_, Role::eval_loop));
        const size_t runs = static_cast<size_t>(
            std::count_if(python_.frames, python_.frames + python_.count,
                          [](const PythonFrame& frame) { return frame.entry; }));
        if (reached_end_) {
            drop_outermost();
        }
        if (!python_.truncated && reached_end_) {
            if (calls == runs) {
                emit(0);
                return true;
            }
            if (calls == runs + 1 && first_call() <= kUnlinkedDepth) {
                emit(1);
                return true;
            }
        } else if (python_.truncated && (calls > runs || !reached_end_)) {
            // Both ends may be open: what is there still begins at the innermost call.
            emit(0);
            return true;
        } else if (native_.end == End::truncated && calls <= runs) {
            emit(0);
            return true;
        } else if (!reached_end_ && calls <= runs) {
            emit(0);
            return false;
        }
        emit_python(python_.count);
        return false;
    }

private:
    size_t first_call() const {
        return static_cast<size_t>(
            std::find(native_.roles, native_.roles + count_, Role::eval_loop) - native_.roles);
    }

    // A thread that never leaves the C library keeps its innermost frame.
    void drop_outermost() {
        const size_t least = python_.count == 0 ? 1 : 0;
        while (count_ > least && (native_.roles[count_ - 1] == Role::outermost ||
                                  native_.roles[count_ - 1] == Role::hidden)) {
            --count_;
        }
    }

    void emit(size_t calls_without_frames) {
        for (size_t i = 0; i < count_; ++i) {
            switch (native_.roles[i]) {
                case Role::eval_loop:
                    if (calls_without_frames > 0) {
                        --calls_without_frames;
                    } else if (at_ == python_.count && python_.truncated) {
                        return;
                    } else {
                        emit_run();
                    }
                    break;
                case Role::hidden:
                case Role::jit_entry:
                    break;
                default:
                    out_.push_back({true, static_cast<uint32_t>(i)});
            }
        }
        emit_python(python_.count);
    }

    void emit_run() {
        size_t end = at_;
        while (end < python_.count && !python_.frames[end].entry) {
            ++end;
        }
        emit_python(std::min(end + 1, python_.count));
    }

    void emit_python(size_t end) {
        for (; at_ < end; ++at_) {
            if (python_.frames[at_].visible) {
                out_.push_back({false, static_cast<uint32_t>(at_)});
            }
        }
    }

    const PythonStack& python_;
    const NativeStack& native_;
    std::vector<MergedFrame>& out_;
    bool reached_end_ = false;
    size_t count_ = 0;  // native frames of this stack
    size_t at_ = 0;     // next Python frame
};

}  // namespace

void hide_jit(std::vector<Role>& roles) {
    for (size_t i = 0; i + 1 < roles.size(); ++i) {
        const Role entry = roles[i + 1];
        const bool piece =
            entry == Role::generated && i + 2 < roles.size() && roles[i + 2] == Role::eval_loop;
        if (roles[i] == Role::generated && (entry == Role::jit_entry || piece)) {
            roles[i] = roles[i + 1] = Role::hidden;
        }
    }
}

bool merge(const PythonStack& python, const NativeStack& native, std::vector<MergedFrame>& out) {
    return Merger(python, native, out).run();
}

}  // namespace spprof::native
