// Owns the way from a linker's name to the one its author wrote: C++ and Rust. Knows no file.
#include "native/demangle.h"

#include <cstdint>
#include <cstdlib>

#if defined(__GNUC__)
#include <cxxabi.h>
#endif

namespace spprof::native {
namespace {

bool starts_with(std::string_view text, std::string_view prefix) {
    return text.substr(0, prefix.size()) == prefix;
}

bool is_digit(char c) { return c >= '0' && c <= '9'; }

bool is_hex_digit(char c) { return is_digit(c) || (c >= 'a' && c <= 'f'); }

// Rust's older scheme borrows the C++ one and closes with a hash: "...17h0123456789abcdefE".
bool has_rust_hash(std::string_view name) {
    constexpr size_t kLength = 20;
    if (name.size() < kLength || name.back() != 'E') {
        return false;
    }
    const std::string_view tail = name.substr(name.size() - kLength);
    if (!starts_with(tail, "17h")) {
        return false;
    }
    for (const char c : tail.substr(3, 16)) {
        if (!is_hex_digit(c)) {
            return false;
        }
    }
    return true;
}

std::string unescape_rust(std::string_view identifier) {
    struct Escape {
        std::string_view from;
        std::string_view to;
    };
    constexpr Escape kEscapes[] = {{"$LT$", "<"}, {"$GT$", ">"}, {"$RF$", "&"},
                                   {"$BP$", "*"}, {"$C$", ","},  {"$LP$", "("},
                                   {"$RP$", ")"}, {"$SP$", "@"}, {"..", "::"}};
    if (starts_with(identifier, "_$")) {
        identifier.remove_prefix(1);
    }
    std::string out;
    while (!identifier.empty()) {
        size_t taken = 0;
        for (const Escape& escape : kEscapes) {
            if (starts_with(identifier, escape.from)) {
                out += escape.to;
                taken = escape.from.size();
                break;
            }
        }
        const size_t close = identifier.find('$', 1);
        if (taken == 0 && starts_with(identifier, "$u") && close != std::string_view::npos) {
            const std::string digits(identifier.substr(2, close - 2));
            const unsigned long value = std::strtoul(digits.c_str(), nullptr, 16);
            if (value >= 0x20 && value < 0x7f) {
                out.push_back(static_cast<char>(value));
                taken = close + 1;
            }
        }
        if (taken == 0) {
            out.push_back(identifier.front());
            taken = 1;
        }
        identifier.remove_prefix(taken);
    }
    return out;
}

// Empty when the name is not of this form.
std::string demangle_rust_legacy(std::string_view name) {
    name.remove_prefix(3);  // "_ZN"
    std::string out;
    while (!name.empty() && name.front() != 'E') {
        size_t length = 0;
        while (!name.empty() && is_digit(name.front()) && length < 100000) {
            length = length * 10 + static_cast<size_t>(name.front() - '0');
            name.remove_prefix(1);
        }
        if (length == 0 || length > name.size()) {
            return {};
        }
        const bool last = name.substr(length) == "E";
        if (!last) {
            out += (out.empty() ? "" : "::") + unescape_rust(name.substr(0, length));
        }
        name.remove_prefix(length);
    }
    return out;
}

// Rust's current scheme ("_R...", RFC 2603). Names of paths, types and generic arguments; constant
// values are shown as "_".
class RustReader {
public:
    explicit RustReader(std::string_view text) : text_(text) {}

    std::string read() {
        std::string out;
        path(out, true);
        return failed_ ? std::string() : out;
    }

private:
    static constexpr size_t kMaxDepth = 64;
    static constexpr size_t kMaxLength = 4096;

    char peek() const { return at_ < text_.size() ? text_[at_] : '\0'; }
    char next() {
        if (at_ >= text_.size()) {
            failed_ = true;
            return '\0';
        }
        return text_[at_++];
    }
    bool eat(char c) {
        if (peek() != c || at_ >= text_.size()) {
            return false;
        }
        ++at_;
        return true;
    }

    // "_" is 0, "0_" is 1, "1_" is 2 and so on.
    uint64_t base62() {
        if (eat('_')) {
            return 0;
        }
        uint64_t value = 0;
        while (!failed_ && !eat('_')) {
            const char c = next();
            uint64_t digit = 0;
            if (is_digit(c)) {
                digit = static_cast<uint64_t>(c - '0');
            } else if (c >= 'a' && c <= 'z') {
                digit = static_cast<uint64_t>(c - 'a') + 10;
            } else if (c >= 'A' && c <= 'Z') {
                digit = static_cast<uint64_t>(c - 'A') + 36;
            } else {
                failed_ = true;
            }
            value = value * 62 + digit;
        }
        return value + 1;
    }

    uint64_t disambiguator() { return eat('s') ? base62() + 1 : 0; }

    std::string identifier() {
        disambiguator();
        const bool punycode = eat('u');
        size_t length = 0;
        if (!eat('0')) {
            while (is_digit(peek()) && length < kMaxLength) {
                length = length * 10 + static_cast<size_t>(next() - '0');
            }
        }
        eat('_');
        if (length > text_.size() - at_) {
            failed_ = true;
            return {};
        }
        const std::string_view name = text_.substr(at_, length);
        at_ += length;
        return punycode ? "punycode{" + std::string(name) + "}" : std::string(name);
    }

    // Goes on reading at an earlier place, then comes back.
    template <class Read>
    void back_reference(size_t start, Read read) {
        const uint64_t target = base62();
        if (failed_ || target >= start || depth_ >= kMaxDepth) {
            failed_ = true;
            return;
        }
        const size_t saved = at_;
        at_ = target;
        ++depth_;
        read();
        --depth_;
        at_ = saved;
    }

    bool enter(const std::string& out) {
        if (failed_ || depth_ >= kMaxDepth || out.size() > kMaxLength) {
            failed_ = true;
            return false;
        }
        ++depth_;
        return true;
    }

    void path(std::string& out, bool in_value) {
        if (!enter(out)) {
            return;
        }
        const size_t start = at_;
        switch (next()) {
            case 'C':
                out += identifier();
                break;
            case 'M':
                disambiguator();
                discard_path();
                out += '<';
                type(out);
                out += '>';
                break;
            case 'X':
                disambiguator();
                discard_path();
                trait_of_type(out);
                break;
            case 'Y':
                trait_of_type(out);
                break;
            case 'N':
                nested(out, in_value);
                break;
            case 'I':
                path(out, in_value);
                out += in_value ? "::<" : "<";
                list(out, [this](std::string& to) { generic_argument(to); });
                out += '>';
                break;
            case 'B':
                back_reference(start, [&] { path(out, in_value); });
                break;
            default:
                failed_ = true;
        }
        --depth_;
    }

    void discard_path() {
        std::string ignored;
        path(ignored, false);
    }

    void trait_of_type(std::string& out) {
        out += '<';
        type(out);
        out += " as ";
        path(out, false);
        out += '>';
    }

    void nested(std::string& out, bool in_value) {
        const char space = next();
        path(out, in_value);
        const size_t before = at_;
        const uint64_t number = disambiguator();
        at_ = before;
        const std::string name = identifier();
        if (space >= 'A' && space <= 'Z') {
            out += "::{";
            out += space == 'C' ? "closure" : space == 'S' ? "shim" : std::string(1, space);
            out += name.empty() ? "" : ":" + name;
            out += "#" + std::to_string(number) + "}";
        } else if (!name.empty()) {
            out += "::" + name;
        }
    }

    template <class Item>
    size_t list(std::string& out, Item item) {
        size_t count = 0;
        while (!failed_ && !eat('E')) {
            out += count++ == 0 ? "" : ", ";
            item(out);
        }
        return count;
    }

    void generic_argument(std::string& out) {
        if (eat('L')) {
            base62();
            out += "'_";
        } else if (eat('K')) {
            constant(out);
        } else {
            type(out);
        }
    }

    void constant(std::string& out) {
        if (!enter(out)) {
            return;
        }
        const size_t start = at_;
        if (eat('B')) {
            back_reference(start, [&] { constant(out); });
        } else if (eat('p')) {
            out += '_';
        } else {
            next();  // the type
            while (!failed_ && next() != '_') {
            }
            out += '_';
        }
        --depth_;
    }

    static std::string_view basic_type(char c) {
        constexpr std::string_view kNames[26] = {
            "i8",    "bool", "char", "f64", "str",  "f32",  "",    "u8", "isize",
            "usize", "",     "i32",  "u32", "i128", "u128", "_",   "",   "",
            "i16",   "u16",  "()",   "...", "",     "i64",  "u64", "!"};
        return c >= 'a' && c <= 'z' ? kNames[c - 'a'] : std::string_view{};
    }

    void type(std::string& out) {
        if (!enter(out)) {
            return;
        }
        const size_t start = at_;
        const char tag = peek();
        const std::string_view basic = basic_type(tag);
        if (!basic.empty()) {
            ++at_;
            out += basic;
            --depth_;
            return;
        }
        switch (tag) {
            case 'R':
            case 'Q':
                ++at_;
                if (eat('L')) {
                    base62();
                }
                out += tag == 'R' ? "&" : "&mut ";
                type(out);
                break;
            case 'P':
            case 'O':
                ++at_;
                out += tag == 'P' ? "*const " : "*mut ";
                type(out);
                break;
            case 'A':
            case 'S':
                ++at_;
                out += '[';
                type(out);
                if (tag == 'A') {
                    out += "; ";
                    constant(out);
                }
                out += ']';
                break;
            case 'T': {
                ++at_;
                out += '(';
                const size_t count = list(out, [this](std::string& to) { type(to); });
                out += count == 1 ? ",)" : ")";
                break;
            }
            case 'F':
                ++at_;
                function_type(out);
                break;
            case 'D':
                ++at_;
                dynamic_type(out);
                break;
            case 'B':
                ++at_;
                back_reference(start, [&] { type(out); });
                break;
            default:
                path(out, false);
        }
        --depth_;
    }

    void function_type(std::string& out) {
        if (eat('G')) {
            base62();
        }
        if (eat('U')) {
            out += "unsafe ";
        }
        if (eat('K')) {
            out += "extern \"" + (eat('C') ? std::string("C") : identifier()) + "\" ";
        }
        out += "fn(";
        list(out, [this](std::string& to) { type(to); });
        out += ')';
        if (!eat('u')) {
            out += " -> ";
            type(out);
        }
    }

    void dynamic_type(std::string& out) {
        if (eat('G')) {
            base62();
        }
        out += "dyn ";
        size_t count = 0;
        while (!failed_ && !eat('E')) {
            out += count++ == 0 ? "" : " + ";
            path(out, false);
            while (eat('p')) {
                out += '<' + identifier() + " = ";
                type(out);
                out += '>';
            }
        }
        if (eat('L')) {
            base62();
        } else {
            failed_ = true;
        }
    }

    std::string_view text_;
    size_t at_ = 0;
    size_t depth_ = 0;
    bool failed_ = false;
};

std::string demangle_cpp(std::string_view name) {
#if defined(__GNUC__)
    int status = 0;
    char* text = abi::__cxa_demangle(std::string(name).c_str(), nullptr, nullptr, &status);
    if (status == 0 && text != nullptr) {
        std::string result(text);
        std::free(text);
        return result;
    }
    std::free(text);
#endif
    return {};
}

}  // namespace

std::string_view strip_suffixes(std::string_view name) {
    name = name.substr(0, name.find('@'));
    constexpr std::string_view kSuffixes[] = {
        ".cold", ".part.",      ".constprop.", ".isra.", ".lto_priv.", ".llvm.",  ".warm",
        ".org.", ".localalias", ".clone.",     ".ifunc", ".resolver",  ".__uniq."};
    size_t end = name.size();
    for (const std::string_view suffix : kSuffixes) {
        const size_t at = name.find(suffix);
        if (at != std::string_view::npos && at > 0) {
            end = std::min(end, at);
        }
    }
    return name.substr(0, end);
}

std::string demangle(std::string_view name) {
    std::string result;
    if (starts_with(name, "_ZN") && has_rust_hash(name)) {
        result = demangle_rust_legacy(name);
    } else if (starts_with(name, "_Z")) {
        result = demangle_cpp(name);
    } else if (starts_with(name, "_R") && name.size() > 3) {
        result = RustReader(name.substr(2)).read();
    }
    return result.empty() ? std::string(name) : result;
}

}  // namespace spprof::native
