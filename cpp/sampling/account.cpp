// See account.h.
#include "sampling/account.h"

#include <algorithm>
#include <utility>

namespace spprof::sampling {

Shares Account::take(const Met& met, const Settings& settings) noexcept {
    if (met.outside && is_on_its_way_out(met.cpu_ns)) {
        return {};
    }
    const std::int64_t used = std::max<std::int64_t>(0, met.cpu_ns - cpu_ns_);
    const std::int64_t passed = std::max<std::int64_t>(0, met.time_ns - time_ns_);
    const std::int64_t before = time_ns_;
    const bool was_waiting = waiting_;
    const bool was_outside = outside_;
    time_ns_ = met.time_ns;
    cpu_ns_ = met.cpu_ns;
    waiting_ = met.waiting;
    outside_ = met.outside;
    Shares shares;
    if (met.outside) {
        if (!was_outside) {
            outside_since_cpu_ns_ = met.cpu_ns;
            nobodys_running_ns_ = 0;
            nobodys_waiting_ns_ = 0;
        }
        nobodys_running_ns_ += used + std::exchange(owed_running_ns_, 0);
        nobodys_waiting_ns_ +=
            std::max<std::int64_t>(0, passed - used) + std::exchange(owed_waiting_ns_, 0);
        return shares;
    }
    shares.here = {met.time_ns, 1, used};
    if (!met.waiting) {
        ++met_running_;
        ran_ns_ += used + owed_running_ns_;
    }
    if (settings.mode == Mode::cpu) {
        return shares;
    }
    const std::int64_t waited = was_outside ? 0 : std::max<std::int64_t>(0, passed - used);
    owed_running_ns_ += used;
    std::int64_t unseen = waited;
    if (was_waiting) {
        const std::int64_t known =
            std::clamp<std::int64_t>(met.stood_still_until_ns - before, 0, waited);
        unseen -= known;
        shares.where_it_waited = {before + known, count_waiting(known, settings), known};
    }
    if (!met.never_slept || met.waiting) {
        owed_waiting_ns_ += unseen;
    } else {
        kept_waiting_ns_ += unseen;
        if (kept_waiting_ns_ >= settings.interval_ns) {
            const std::int64_t weight = std::exchange(kept_waiting_ns_, 0);
            shares.kept_waiting = {met.time_ns - used,
                                   std::max<std::uint32_t>(1, count_waiting(weight, settings)),
                                   weight};
        }
    }
    if (!met.waiting) {
        shares.here.weight_ns = std::exchange(owed_running_ns_, 0);
        return shares;
    }
    // What it waited unseen was hardly for a processor: that is owed to where it sleeps.
    shares.here.weight_ns = met.could_run ? 0 : std::exchange(owed_waiting_ns_, 0);
    // A place where it was met is a sample at least; what that is too much is made up for.
    const std::uint32_t whole = count_waiting(shares.here.weight_ns, settings);
    shares.here.count = std::max<std::uint32_t>(1, whole);
    uncounted_waiting_ns_ -= (shares.here.count - whole) * settings.interval_ns;
    return shares;
}

std::uint32_t Account::count_waiting(std::int64_t waited_ns, const Settings& settings) noexcept {
    uncounted_waiting_ns_ += waited_ns;
    const std::int64_t count =
        std::max<std::int64_t>(0, uncounted_waiting_ns_ / settings.interval_ns);
    uncounted_waiting_ns_ -= count * settings.interval_ns;
    return static_cast<std::uint32_t>(count);
}

Account::Rest Account::rest(std::int64_t now_ns, std::int64_t cpu_ns,
                            const Settings& settings) noexcept {
    Rest rest;
    rest.time_ns = now_ns;
    const std::int64_t used = std::max<std::int64_t>(0, cpu_ns - cpu_ns_);
    rest.ran_ns = used + std::exchange(owed_running_ns_, 0);
    if (settings.mode == Mode::wall) {
        const std::int64_t passed = std::max<std::int64_t>(0, now_ns - time_ns_);
        const std::int64_t waited =
            std::max<std::int64_t>(0, passed - used) + std::exchange(owed_waiting_ns_, 0);
        rest.waited = {now_ns, waiting_ ? count_waiting(waited, settings) : 0, waited};
    }
    return rest;
}

void Account::end_cpu(std::int64_t cpu_ns, std::int64_t left_python_ns) noexcept {
    final_cpu_ns_ = cpu_ns;
    left_python_ns_ = left_python_ns;
    if (outside_ && is_on_its_way_out(outside_since_cpu_ns_)) {
        outside_ = false;
        owed_running_ns_ += nobodys_running_ns_;
        owed_waiting_ns_ += nobodys_waiting_ns_;
    }
}

void Account::settle(std::int64_t now_ns, std::int64_t cpu_ns) noexcept {
    time_ns_ = now_ns;
    cpu_ns_ = std::max(cpu_ns_, cpu_ns);
}

void Account::rebase(std::int64_t now_ns, std::int64_t cpu_ns) noexcept {
    settle(now_ns, cpu_ns);
    waiting_ = false;
    owed_running_ns_ = 0;
    owed_waiting_ns_ = 0;
    kept_waiting_ns_ = 0;
    nobodys_running_ns_ = 0;
    nobodys_waiting_ns_ = 0;
}

}  // namespace spprof::sampling
