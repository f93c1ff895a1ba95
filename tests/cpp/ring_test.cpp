// The ring between a signal handler and the collector: nothing is lost, torn, reordered or
// unbounded.
#include "sampling/ring.h"

#include <doctest/doctest.h>

#include <cstring>
#include <memory>
#include <random>
#include <thread>
#include <vector>

using spprof::sampling::Ring;

namespace {

struct Fixture {
    std::unique_ptr<std::uint64_t[]> pages{new std::uint64_t[Ring::kBytes / 8]()};
    Ring ring;
    Fixture() { ring.attach(pages.get()); }
};

// A record: its size, a sequence number, and bytes that follow from it.
bool put(Ring& ring, std::uint32_t size, std::uint32_t number) {
    std::uint8_t* room = ring.begin(size);
    if (room == nullptr) {
        return false;
    }
    std::memcpy(room, &size, sizeof size);
    std::memcpy(room + 4, &number, sizeof number);
    std::memset(room + 8, static_cast<int>(number & 0xFF), size - 8);
    ring.commit(size);
    return true;
}

std::uint32_t check(const std::uint8_t* record) {
    std::uint32_t size, number;
    std::memcpy(&size, record, sizeof size);
    std::memcpy(&number, record + 4, sizeof number);
    bool intact = true;
    for (std::uint32_t i = 8; i < size; ++i) {
        intact = intact && record[i] == (number & 0xFF);
    }
    CHECK(intact);
    return number;
}

}  // namespace

TEST_CASE("a full ring refuses, and takes again once it is drained") {
    Fixture f;
    std::uint32_t number = 0;
    while (put(f.ring, 4096, number)) {
        ++number;
    }
    CHECK(number == Ring::kBytes / 4096);
    CHECK_FALSE(put(f.ring, 16, 0));
    std::uint32_t expected = 0;
    f.ring.drain([&](const std::uint8_t* record) { CHECK(check(record) == expected++); });
    CHECK(expected == number);
    CHECK(f.ring.backlog() == 0);
    CHECK(put(f.ring, 4096, 7));
}

TEST_CASE("an empty ring starts over, so that few pages are ever touched") {
    Fixture f;
    for (std::uint32_t i = 0; i < 10'000; ++i) {
        REQUIRE(put(f.ring, 512, i));
        f.ring.drain([&](const std::uint8_t* record) { CHECK(check(record) == i); });
    }
    CHECK(f.ring.touched() <= 1024);
}

TEST_CASE("records never wrap, whatever their sizes") {
    Fixture f;
    std::mt19937 random(1);
    std::uniform_int_distribution<std::uint32_t> words(2, 5000);
    std::uint32_t sent = 0, got = 0;
    for (int step = 0; step < 20'000; ++step) {
        if (put(f.ring, words(random) * 8, sent)) {
            ++sent;
        }
        if (step % 7 == 0) {
            f.ring.drain([&](const std::uint8_t* record) {
                REQUIRE(record >= reinterpret_cast<std::uint8_t*>(f.pages.get()));
                std::uint32_t size;
                std::memcpy(&size, record, sizeof size);
                REQUIRE(record + size <=
                        reinterpret_cast<std::uint8_t*>(f.pages.get()) + Ring::kBytes);
                CHECK(check(record) == got++);
            });
        }
    }
    f.ring.drain([&](const std::uint8_t* record) { CHECK(check(record) == got++); });
    CHECK(sent == got);
    CHECK(sent > 10'000);
}

TEST_CASE("one thread writes while another reads") {
    Fixture f;
    constexpr std::uint32_t kRecords = 200'000;
    std::uint32_t refused = 0;
    std::thread producer([&] {
        std::mt19937 random(2);
        std::uniform_int_distribution<std::uint32_t> words(2, 300);
        for (std::uint32_t number = 0; number < kRecords;) {
            if (put(f.ring, words(random) * 8, number)) {
                ++number;
            } else {
                ++refused;
                std::this_thread::yield();
            }
        }
    });
    std::uint32_t expected = 0;
    while (expected < kRecords) {
        f.ring.drain([&](const std::uint8_t* record) { CHECK(check(record) == expected++); });
        std::this_thread::yield();
    }
    producer.join();
    CHECK(f.ring.backlog() == 0);
}
