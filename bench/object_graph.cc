// SPDX-License-Identifier: MIT
//
// object_graph [ROUNDS] - one thread that builds, transforms and drops graphs of small objects.
//
// Models: parsers, compilers, symbolic algebra: most programs are single-threaded and spend their memory so.
// Idea: cfrac and espresso of D. Grunwald and B. Zorn's allocation suite (1993), whose loads are trees and strings of
// real algorithms and not random sizes; the algorithms here are our own.
// Stresses: small sizes (16..96 bytes) with bursts of strings and tables, blocks freed in the order of a tree walk,
// generations that overlap, so that freed holes lie between blocks that live on.
// A round: (1) random expressions are differentiated, simplified, printed and parsed again; (2) a document text is
// parsed into maps and lists, edited and written; (3) an index of words grows and is thinned out.
#include <array>
#include <deque>
#include <memory>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "bench/program.h"

namespace {

uint64_t mix(uint64_t sum, uint64_t value) {
  return (sum ^ value) * 0x100000001B3ull + 0x9E37ull;
}

// ---- (1) symbolic algebra -------------------------------------------------------------------------------------------

struct Expr;

/// The nodes differ in size and have no virtual functions, so the deleter goes by the kind.
struct DeleteExpr {
  void operator()(Expr* expr) const;
};
using ExprPtr = std::unique_ptr<Expr, DeleteExpr>;

/// kNumber: value. kVariable: name. '+', '*': left and right. 's' (sine), 'c' (cosine), '-' (negation): left.
struct Expr {
  char kind;
  ExprPtr left;
  ExprPtr right;
};
constexpr char kNumber = 'n';
constexpr char kVariable = 'v';

struct Number : Expr {
  long value;
};
struct Variable : Expr {
  std::string name;
};

void DeleteExpr::operator()(Expr* expr) const {
  if (expr->kind == kNumber) {
    delete static_cast<Number*>(expr);
  } else if (expr->kind == kVariable) {
    delete static_cast<Variable*>(expr);
  } else {
    delete expr;
  }
}

ExprPtr number(long value) {
  return ExprPtr(new Number{{kNumber, nullptr, nullptr}, value});
}
ExprPtr variable(std::string name) {
  return ExprPtr(new Variable{{kVariable, nullptr, nullptr}, std::move(name)});
}
ExprPtr node(char kind, ExprPtr left, ExprPtr right = nullptr) {
  return ExprPtr(new Expr{kind, std::move(left), std::move(right)});
}
long value_of(const Expr& expr) {
  return static_cast<const Number&>(expr).value;
}
const std::string& name_of(const Expr& expr) {
  return static_cast<const Variable&>(expr).name;
}

ExprPtr random_expr(bench::Rng& random, int depth) {
  if (depth == 0 || random.below(8) == 0) {
    if (random.below(2) == 0) return number(random.below(4));
    // One in four names is too long for the string's own buffer.
    std::string name = random.below(4) == 0 ? "a_rather_long_variable_name_" : "x";
    return variable(name + std::to_string(random.below(3)));
  }
  switch (random.below(6)) {
    case 0:
      return node('s', random_expr(random, depth - 1));
    case 1:
      return node('c', random_expr(random, depth - 1));
    case 2:
    case 3: {
      ExprPtr left = random_expr(random, depth - 1);
      return node('*', std::move(left), random_expr(random, depth - 1));
    }
    default: {
      ExprPtr left = random_expr(random, depth - 1);
      return node('+', std::move(left), random_expr(random, depth - 1));
    }
  }
}

ExprPtr copy(const Expr& expr) {
  if (expr.kind == kNumber) return number(value_of(expr));
  if (expr.kind == kVariable) return variable(name_of(expr));
  ExprPtr left = copy(*expr.left);
  return node(expr.kind, std::move(left), expr.right ? copy(*expr.right) : nullptr);
}

ExprPtr derivative(const Expr& expr, const std::string& by) {
  switch (expr.kind) {
    case kNumber:
      return number(0);
    case kVariable:
      return number(name_of(expr) == by ? 1 : 0);
    case '+': {
      ExprPtr left = derivative(*expr.left, by);
      return node('+', std::move(left), derivative(*expr.right, by));
    }
    case '*': {
      ExprPtr first = node('*', derivative(*expr.left, by), copy(*expr.right));
      return node('+', std::move(first), node('*', copy(*expr.left), derivative(*expr.right, by)));
    }
    case 's':
      return node('*', node('c', copy(*expr.left)), derivative(*expr.left, by));
    case 'c':
      return node('*', node('-', node('s', copy(*expr.left))), derivative(*expr.left, by));
    default:
      return node('-', derivative(*expr.left, by));
  }
}

bool is_number(const Expr& expr, long value) {
  return expr.kind == kNumber && value_of(expr) == value;
}

/// Rewrites bottom-up; what falls away is freed on the way.
ExprPtr simplify(ExprPtr expr) {
  if (expr->kind == kNumber || expr->kind == kVariable) return expr;
  expr->left = simplify(std::move(expr->left));
  if (expr->right) expr->right = simplify(std::move(expr->right));
  const Expr& left = *expr->left;
  if (expr->kind == '+') {
    if (is_number(left, 0)) return std::move(expr->right);
    if (is_number(*expr->right, 0)) return std::move(expr->left);
    if (left.kind == kNumber && expr->right->kind == kNumber) return number(value_of(left) + value_of(*expr->right));
  } else if (expr->kind == '*') {
    if (is_number(left, 0) || is_number(*expr->right, 0)) return number(0);
    if (is_number(left, 1)) return std::move(expr->right);
    if (is_number(*expr->right, 1)) return std::move(expr->left);
  } else if (expr->kind == '-' && is_number(left, 0)) {
    return number(0);
  }
  return expr;
}

/// Every part returns its own string, as naive printers do.
std::string print(const Expr& expr) {
  if (expr.kind == kNumber) return std::to_string(value_of(expr));
  if (expr.kind == kVariable) return name_of(expr);
  if (expr.right) return "(" + print(*expr.left) + expr.kind + print(*expr.right) + ")";
  return std::string(1, '[') + expr.kind + print(*expr.left) + "]";
}

ExprPtr parse(const std::string& text, size_t& at) {
  if (text[at] == '(') {
    ExprPtr left = parse(text, ++at);
    const char kind = text[at++];
    ExprPtr right = parse(text, at);
    ++at;
    return node(kind, std::move(left), std::move(right));
  }
  if (text[at] == '[') {
    const char kind = text[at + 1];
    at += 2;
    ExprPtr left = parse(text, at);
    ++at;
    return node(kind, std::move(left));
  }
  size_t end = at;
  while (end < text.size() && std::strchr("+*)]", text[end]) == nullptr) ++end;
  const std::string word = text.substr(at, end - at);
  at = end;
  return word[0] >= '0' && word[0] <= '9' ? number(std::stol(word)) : variable(word);
}

uint64_t algebra(bench::Rng& random) {
  uint64_t sum = 0;
  std::vector<ExprPtr> kept;  // results of the round live on while later ones come and go
  for (int i = 0; i < 60; ++i) {
    const ExprPtr expr = random_expr(random, 8);
    ExprPtr second = simplify(derivative(*simplify(derivative(*expr, "x0")), "x1"));
    const std::string text = print(*second);
    size_t at = 0;
    ExprPtr again = parse(text, at);
    if (at != text.size() || print(*again) != text) bench::fail("an expression changed on its way through text");
    sum = mix(sum, text.size());
    kept.push_back(std::move(i % 2 == 0 ? second : again));
  }
  return sum;
}

// ---- (2) documents --------------------------------------------------------------------------------------------------

struct Value {
  std::string text;  ///< of a leaf
  std::vector<std::unique_ptr<Value>> list;
  std::unordered_map<std::string, std::unique_ptr<Value>> fields;
};
using ValuePtr = std::unique_ptr<Value>;

void write_random(bench::Rng& random, int depth, std::string& out) {
  const uint32_t kind = depth == 0 ? 0 : random.below(3);
  if (kind == 0) {
    out += '"';
    for (uint32_t length = random.between(1, 40); length > 0; --length)
      out += static_cast<char>('a' + random.below(26));
    out += '"';
  } else {
    out += kind == 1 ? '[' : '{';
    for (uint32_t i = random.between(2, 9); i > 0; --i) {
      if (kind == 2) out += "field_" + std::to_string(random.below(1000)) + ':';
      write_random(random, depth - 1, out);
      out += ',';
    }
    out += kind == 1 ? ']' : '}';
  }
}

ValuePtr read_value(const std::string& text, size_t& at) {
  auto value = std::make_unique<Value>();
  const char open = text[at++];
  if (open == '"') {
    const size_t end = text.find('"', at);
    value->text = text.substr(at, end - at);
    at = end + 1;
    return value;
  }
  while (text[at] != ']' && text[at] != '}') {
    if (open == '[') {
      value->list.push_back(read_value(text, at));
    } else {
      const size_t end = text.find(':', at);
      std::string key = text.substr(at, end - at);
      at = end + 1;
      value->fields[std::move(key)] = read_value(text, at);
    }
    ++at;  // the comma
  }
  ++at;
  return value;
}

/// Order-independent, since a hash table's order is none.
uint64_t digest(const Value& value) {
  uint64_t sum = value.text.size();
  for (char letter : value.text) sum = mix(sum, static_cast<unsigned char>(letter));
  for (const auto& part : value.list) sum = mix(sum, digest(*part));
  for (const auto& [key, part] : value.fields) sum += mix(key.size(), digest(*part));
  return sum;
}

/// Replaces or removes about one part in four.
void edit(Value& value, bench::Rng& random) {
  for (auto& part : value.list) {
    if (random.below(4) == 0) {
      part = std::make_unique<Value>();
      part->text.assign(random.between(1, 60), 'z');
    } else {
      edit(*part, random);
    }
  }
  // By key order and not by table order, so that the random numbers fall alike in every standard library.
  for (int i = 0; i < 1000 && !value.fields.empty(); i += 7) {
    auto found = value.fields.find("field_" + std::to_string(i));
    if (found != value.fields.end()) value.fields.erase(found);
  }
}

uint64_t documents(bench::Rng& random) {
  uint64_t sum = 0;
  std::deque<ValuePtr> recent;
  for (int i = 0; i < 12; ++i) {
    std::string text = "[";
    for (int part = 0; part < 16; ++part) {
      write_random(random, 4, text);
      text += ',';
    }
    text += ']';
    size_t at = 0;
    ValuePtr document = read_value(text, at);
    sum = mix(sum, digest(*document));
    edit(*document, random);
    sum = mix(sum, digest(*document));
    recent.push_back(std::move(document));
    if (recent.size() > 4) recent.pop_front();
  }
  return sum;
}

// ---- (3) index of words ---------------------------------------------------------------------------------------------

uint64_t word_index(bench::Rng& random) {
  static constexpr std::array kSyllables = {"ba", "cor", "di", "fen", "gu", "hal",
                                            "jo", "kir", "le", "mon", "nu", "pas"};
  std::unordered_map<std::string, std::vector<uint32_t>> index;
  for (uint32_t place = 0; place < 40000; ++place) {
    std::string word;
    for (uint32_t i = random.between(2, 5); i > 0; --i) word += kSyllables[random.below(kSyllables.size())];
    index[word].push_back(place);
    // Old entries are dropped while new ones come, as in a cache.
    if (place % 4 == 3) index.erase(word);
  }
  uint64_t sum = index.size();
  for (const auto& [word, places] : index) sum += mix(word.size(), places.size() + places.back());
  return sum;
}

}  // namespace

int main(int argc, char** argv) {
  const long rounds = bench::argument(argc, argv, 1, 12);
  bench::Rng random(5);
  uint64_t sum = 0;
  const double start = bench::now_seconds();
  for (long round = 0; round < rounds; ++round) {
    sum = mix(sum, algebra(random));
    sum = mix(sum, documents(random));
    sum = mix(sum, word_index(random));
  }
  std::printf("object_graph: %ld rounds, checksum %016llx\n", rounds, static_cast<unsigned long long>(sum));
  std::fprintf(stderr, "%.1f ms a round, peak RSS %ld KiB\n",
               (bench::now_seconds() - start) * 1e3 / static_cast<double>(rounds > 0 ? rounds : 1),
               bench::peak_rss_kib());
  return 0;
}
