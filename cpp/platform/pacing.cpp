// See pacing.h. OwnTime is reached from the signal handler.
#include "platform/pacing.h"

#include <algorithm>
#include <iterator>

namespace spprof::platform::pacing {

namespace {

// For so many signals the period differs from the interval by a few fractions of it, so that they
// meet each of as many phases of a program that repeats itself once an interval; then for as many
// by the opposite, which keeps the rate. Setting a timer anew may cost as much as a sample.
constexpr int kSignalsAtOnePace = 16;
constexpr int kPaces[] = {1, 3, -1, -3};

// How many samples may be ahead of their rate or make up for it. Whether a signal meets a thread
// that runs now and then is chance.
constexpr std::int64_t kMostAhead = 8;
// A thread that is so many intervals of CPU time behind its rate runs in bursts that are over
// before a signal comes: it is met by its CPU timer, at the kernel's next tick.
constexpr std::int64_t kBehind = 4;

// Interrupts of the processor a thread runs on take less; on virtual machines usually a good part
// of it...
constexpr std::int64_t kMaybeLate = 50'000;
// ...and hardly ever as much as this.
constexpr std::int64_t kLate = 200'000;

// A thread that ran for a part of the interval is expected to run again before the next is over.
constexpr std::int64_t kShortNap = 4;

// A visit that met a torn chain is tried again, but not before it is over: a signal that comes
// sooner meets the same instruction again.
constexpr std::int64_t kBeyondVisit = 5'000;

// A thread that lost less than this part of the time since the last look ran throughout.
constexpr std::int64_t kThroughout = 10;

}  // namespace

std::int64_t soon(const Rhythm& rhythm) noexcept { return std::min(kSoon, rhythm.interval_ns / 8); }

// --- the ticker's side --------------------------------------------------------------------------

void learn_patience(Seek& seek, std::int64_t now_ns, const Rhythm& rhythm) noexcept {
    const std::int64_t least = kLeastPatience * rhythm.interval_ns;
    const std::int64_t lasted = now_ns - seek.steady_since;
    const std::int64_t before = std::max(seek.patience_ns, least);
    seek.patience_ns = lasted < kSoonToSleep * rhythm.interval_ns
                           ? std::min(2 * before, std::max(kMostPatience, least))
                           : std::max(before / 2, least);
}

void begin_seeking(Seek& seek, std::int64_t now_ns, std::int64_t cpu_ns) noexcept {
    seek.state = Seeking::sought;
    seek.cpu_ns = cpu_ns;
    seek.looked_ns = now_ns;
    seek.credit_ns = 0;
    seek.still_since = now_ns;
    seek.throughout_since = now_ns;
}

bool runs_throughout(Seek& seek, const Look& look, std::int64_t used_ns,
                     const Rhythm& rhythm) noexcept {
    const std::int64_t passed = look.now_ns - seek.looked_ns;
    if (seek.cpu_ns < 0 || used_ns < passed - passed / kThroughout) {
        seek.throughout_since = look.now_ns;
        // One that naps is met better by its own timer than by a ticker that comes late.
        return !rhythm.prompt;
    }
    return !rhythm.prompt || look.now_ns - seek.throughout_since >=
                                 std::max(seek.patience_ns, kLeastPatience * rhythm.interval_ns);
}

// --- threads that stand still, in wall time -----------------------------------------------------

namespace {

// Looks in a row without a movement, after which a thread is not looked at any more.
constexpr int kStillLooks = 8;
// CPU time that nobody is known to have used: less is the noise of reading many clocks in turn.
constexpr std::int64_t kNoise = 20'000;
constexpr std::int64_t kAllowedShare = 200;
// What was not used is kept up to this much...
constexpr std::int64_t kMostAllowed = 300'000;
// ...and nothing counts as more: whoever measured it was kept from its processor meanwhile.
constexpr std::int64_t kMostTaken = 2'000'000;

}  // namespace

bool wants_meeting(Waiting& waiting, std::int64_t cpu_ns) noexcept {
    const bool moved = cpu_ns != waiting.seen_cpu;
    waiting.seen_cpu = cpu_ns;
    if (cpu_ns != waiting.met_cpu) {
        waiting.still = 0;
        waiting.asleep = false;
        return true;
    }
    waiting.still = moved ? 0 : waiting.still + 1;
    waiting.asleep = waiting.still >= kStillLooks;
    return false;
}

bool Allowance::grants(std::int64_t now_ns) noexcept {
    left_ns_ = std::min(kMostAllowed, left_ns_ + (now_ns - since_) / kAllowedShare);
    since_ = now_ns;
    return left_ns_ >= 0;
}

void Allowance::take(std::int64_t took_ns) noexcept { left_ns_ -= std::min(took_ns, kMostTaken); }

bool somebody_woke(Sleepers& sleepers, std::int64_t now_ns, std::int64_t rest_ns) noexcept {
    const bool woke = !sleepers.known || rest_ns - sleepers.unexplained_ns > kNoise;
    if (!woke) {
        sleepers.quiet_until = now_ns;
    }
    return woke && sleepers.rounds.grants(now_ns);
}

void looked_at_all(Sleepers& sleepers, std::int64_t now_ns, std::int64_t took_ns,
                   std::int64_t rest_ns) noexcept {
    sleepers.known = true;
    sleepers.quiet_until = now_ns;
    sleepers.unexplained_ns = rest_ns;
    sleepers.rounds.take(took_ns);
}

// --- the thread's own side ----------------------------------------------------------------------

std::int64_t OwnTime::random_below(std::int64_t limit) noexcept {
    random_ ^= random_ << 13;
    random_ ^= random_ >> 17;
    random_ ^= random_ << 5;
    return static_cast<std::int64_t>(random_) * limit >> 32;
}

// Whether a sample of a thread whose CPU clock says so is due: it may have had less CPU time than
// time passed.
bool OwnTime::take_due(std::int64_t cpu_ns, const Rhythm& rhythm) noexcept {
    const std::int64_t most = kMostAhead * rhythm.interval_ns;
    if (cpu_ns + most < due_cpu_) {
        return false;
    }
    due_cpu_ = std::max(due_cpu_, cpu_ns - most) + rhythm.interval_ns;
    return true;
}

// How long ago the signal that came now was sent. Signals of the same timer that are not taken in
// time become one.
std::int64_t OwnTime::take_lateness(std::int64_t now_ns) noexcept {
    const std::int64_t late = std::max<std::int64_t>(0, now_ns - next_);
    if (period_ > 0) {
        next_ += (1 + late / period_) * period_;
    }
    return late;
}

Arm OwnTime::set(std::int64_t now_ns, std::int64_t first_ns, std::int64_t period_ns) noexcept {
    period_ = period_ns;
    next_ = now_ns + first_ns;
    return {Arm::What::set, first_ns, period_ns};
}

Arm OwnTime::aim(const Arrival& arrival, const Rhythm& rhythm) noexcept {
    state_ = Keeping::aimed;
    return set(arrival.now_ns, 1 + random_below(soon(rhythm)), 0);
}

Arm OwnTime::go_steady(std::int64_t now_ns, std::int64_t within_ns, const Rhythm& rhythm) noexcept {
    state_ = Keeping::steady;
    phase_ = random_below(rhythm.interval_ns);
    turned_ = true;
    signals_at_this_pace_ = kSignalsAtOnePace - 1;  // the next signal sets the pace
    return set(now_ns, 1 + random_below(within_ns), rhythm.interval_ns);
}

// A program that works in step with the interval must not always be met at the same place.
Arm OwnTime::vary_pace(std::int64_t now_ns, const Rhythm& rhythm) noexcept {
    if (++signals_at_this_pace_ < kSignalsAtOnePace) {
        return {};
    }
    signals_at_this_pace_ = 0;
    turned_ = !turned_;
    std::int64_t shift = 0;
    if (turned_) {
        // The way back leads between the places of the way there.
        pace_ = -pace_;
        shift = rhythm.interval_ns / kSignalsAtOnePace / 2;
        phase_ += shift;
    } else {
        pace_ = kPaces[random_below(std::size(kPaces))];
        const std::int64_t phase = random_below(rhythm.interval_ns);
        shift = phase - phase_;
        phase_ = phase;
    }
    const std::int64_t period = rhythm.interval_ns + pace_ * rhythm.interval_ns / kSignalsAtOnePace;
    return set(now_ns, std::max(rhythm.interval_ns / 16, period + shift), period);
}

Arm OwnTime::stop() noexcept {
    const bool runs_by_itself = state_ == Keeping::steady;
    state_ = Keeping::nothing;
    return {runs_by_itself ? Arm::What::stop : Arm::What::leave, 0, 0};
}

Arm OwnTime::torn(std::int64_t now_ns, const Rhythm& rhythm) noexcept {
    if (tries_++ == kTriesAgain) {
        tries_ = 0;
        return {};
    }
    if (state_ == Keeping::nothing) {
        state_ = Keeping::aimed;
    }
    return set(now_ns, kBeyondVisit + random_below(soon(rhythm)),
               state_ == Keeping::steady ? period_ : 0);
}

ArrivalDecision OwnTime::next(const Arrival& arrival, const Rhythm& rhythm) noexcept {
    // What a thread was ahead of its rate or behind when its timer stopped, it still is.
    if (due_cpu_ == 0) {
        due_cpu_ = arrival.cpu_ns;
    }
    ArrivalDecision decision;
    // Pending signals are discarded now and then, by us (where a thread cannot be reached) and by
    // others: a timer that was aimed once and did not fire would be waited for for ever.
    if (arrival.from == From::ticker && state_ == Keeping::aimed &&
        arrival.now_ns - next_ > rhythm.interval_ns) {
        state_ = Keeping::nothing;
    }
    if (arrival.from == From::alarm) {
        // It slept until now, and the ticker sees to what follows; or nobody met it for long.
        const bool wanted =
            arrival.slept || arrival.cpu_ns - due_cpu_ >= kBehind * rhythm.interval_ns;
        decision.visit = wanted && !arrival.in_call && take_due(arrival.cpu_ns, rhythm);
        return decision;
    }
    if (arrival.from == From::ticker || state_ == Keeping::nothing) {
        if (arrival.in_call || state_ != Keeping::nothing || arrival.from == From::own_timer) {
            return decision;  // own_timer: sent before it was stopped
        }
        if (arrival.may_keep_own_time) {
            decision.timer = go_steady(arrival.now_ns, soon(rhythm), rhythm);
        } else {
            decision.timer = aim(arrival, rhythm);
        }
        return decision;
    }
    const bool once = state_ == Keeping::aimed;
    const std::int64_t late = take_lateness(arrival.now_ns);
    const std::int64_t used = arrival.cpu_ns - arrival.visited_cpu_ns;
    if (arrival.in_call) {
        if (!once && !rhythm.prompt && used >= rhythm.interval_ns / kShortNap) {
            decision.timer = vary_pace(arrival.now_ns, rhythm);
        } else {
            decision.timer = stop();
        }
        return decision;
    }
    // It may have been off the processor from the moment the timer fired until now.
    const std::int64_t passed = arrival.now_ns - arrival.visited_ns;
    const bool was_off = late > kMaybeLate && passed - used >= late;
    if (was_off && late <= kLate && arrival.just_left_call) {
        // Perhaps it slept in that call: once more, where it goes on.
        decision.timer = set(arrival.now_ns, 1 + random_below(soon(rhythm)), period_);
        return decision;
    }
    decision.timer = once ? stop() : vary_pace(arrival.now_ns, rhythm);
    decision.visit = !(was_off && late > kLate) && take_due(arrival.cpu_ns, rhythm);
    return decision;
}

}  // namespace spprof::platform::pacing
