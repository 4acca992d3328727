// csrc/core/text.h on Python's words and NumPy arrays.
#include "csrc/core/text.h"

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "csrc/python/support.h"

namespace fastw2v {
namespace {

namespace py = pybind11;

std::string Repr(py::handle object) { return py::repr(object).cast<std::string>(); }

std::string_view Utf8(py::handle word) {
  Py_ssize_t size = 0;
  const char* data = PyUnicode_AsUTF8AndSize(word.ptr(), &size);
  if (data == nullptr) {
    if (!PyErr_ExceptionMatches(PyExc_UnicodeEncodeError)) throw py::error_already_set();
    PyErr_Clear();  // half of a surrogate pair
    throw py::value_error("the word " + Repr(word) + " cannot be written in UTF-8");
  }
  return {data, static_cast<std::size_t>(size)};
}

// Words of any hashable type as the bytes that the core counts: a str is its UTF-8; an integer of
// 64 bits is itself, and what else there is its number in the order of the text, each behind a byte
// that UTF-8 does not have. So ties end in the order of code points, of integers, of the text. As
// in a dictionary, numbers that are equal are one word; one that equals an integer is that integer.
class WordBytes {
 public:
  void Append(py::handle word, std::string* bytes) {
    int64_t integer = 0;
    if (PyUnicode_Check(word.ptr())) {
      bytes->append(Utf8(word));
    } else if (AsInteger(word, &integer)) {
      AppendNumber(kInteger, static_cast<uint64_t>(integer) ^ kSign, bytes);
    } else {
      AppendNumber(kObject, Number(word), bytes);
    }
  }

  py::object Word(std::string_view bytes) const {
    if (bytes.empty() || (bytes[0] != kInteger && bytes[0] != kObject)) {
      return py::str(bytes.data(), bytes.size());
    }
    uint64_t number = 0;
    for (const char byte : bytes.substr(1)) number = number << 8 | static_cast<uint8_t>(byte);
    if (bytes[0] == kInteger) return py::int_(static_cast<int64_t>(number ^ kSign));
    return objects_[number];
  }

 private:
  static constexpr char kInteger = '\xfe', kObject = '\xff';
  static constexpr uint64_t kSign = uint64_t{1} << 63;

  static void AppendNumber(char kind, uint64_t number, std::string* bytes) {
    bytes->push_back(kind);
    for (int shift = 56; shift >= 0; shift -= 8) {
      bytes->push_back(static_cast<char>(number >> shift));
    }
  }

  static bool AsInteger(py::handle word, int64_t* value) {
    if (!PyNumber_Check(word.ptr())) return false;
    py::object integer = py::reinterpret_borrow<py::object>(word);
    if (!PyLong_CheckExact(word.ptr())) {
      integer = py::reinterpret_steal<py::object>(PyNumber_Long(word.ptr()));
      if (!integer || PyObject_RichCompareBool(word.ptr(), integer.ptr(), Py_EQ) != 1) {
        PyErr_Clear();
        return false;
      }
    }
    int overflow = 0;
    *value = PyLong_AsLongLongAndOverflow(integer.ptr(), &overflow);
    return overflow == 0;
  }

  uint64_t Number(py::handle word) {
    const std::string type = py::str(py::type::of(word).attr("__name__"));
    if (PyObject_Hash(word.ptr()) == -1) {
      PyErr_Clear();
      throw py::type_error("the word " + Repr(word) + " is of type " + type +
                           ", which is not hashable: a sentence is a list of words");
    }
    // Not PyObject_RichCompareBool, to which an object always equals itself.
    const auto equal =
        py::reinterpret_steal<py::object>(PyObject_RichCompare(word.ptr(), word.ptr(), Py_EQ));
    if (!equal || PyObject_IsTrue(equal.ptr()) != 1) {
      PyErr_Clear();
      throw py::value_error("the word " + Repr(word) +
                            " does not equal itself, as a missing value: leave it out");
    }
    if (!numbers_.contains(word)) {
      numbers_[word] = py::int_(objects_.size());
      objects_.append(word);
    }
    return numbers_[word].cast<uint64_t>();
  }

  py::dict numbers_;
  py::list objects_;
};

class Scanner {
 public:
  Scanner(int64_t max_types, int64_t max_sentence, const std::optional<py::list>& vocabulary,
          std::optional<Array<uint32_t>> letters)
      : letters_(std::move(letters)) {
    if (max_types < 0) throw py::value_error("max_types must not be negative");
    if (max_sentence < 1) throw py::value_error("max_sentence must be at least 1");
    TextRules rules;
    rules.max_types = max_types;
    rules.max_sentence = max_sentence;
    if (letters_.has_value()) {
      rules.letters = letters_->data();
      rules.num_letters = letters_->size();
    }
    scanner_ = std::make_unique<TextScanner>(rules);
    if (!vocabulary.has_value()) return;
    std::vector<std::string> bytes(vocabulary->size());
    for (std::size_t i = 0; i < bytes.size(); ++i) word_bytes_.Append((*vocabulary)[i], &bytes[i]);
    const std::vector<std::string_view> words(bytes.begin(), bytes.end());
    ThrowIfError(scanner_->SetVocabulary(words.data(), static_cast<int64_t>(words.size())));
  }

  Array<int32_t> Scan(const py::bytes& piece, int num_threads) {
    const PlainThreads threads(num_threads);
    const std::string_view text(piece);
    return Take([&] { return scanner_->Scan(text, threads); });
  }

  Array<int32_t> EndText() {
    return Take([&] { return scanner_->EndText(); });
  }

  Array<int32_t> ScanSentences(const py::list& sentences) {
    std::string bytes;
    std::vector<int64_t> lengths, sentence_words;
    for (const py::handle sentence : sentences) {
      const std::size_t before = lengths.size();
      for (const py::handle word : sentence) {
        const std::size_t begin = bytes.size();
        word_bytes_.Append(word, &bytes);
        lengths.push_back(static_cast<int64_t>(bytes.size() - begin));
      }
      sentence_words.push_back(static_cast<int64_t>(lengths.size() - before));
    }
    return Take([&] {
      return scanner_->ScanSentences(bytes.data(), lengths.data(), sentence_words.data(),
                                     static_cast<int64_t>(sentence_words.size()));
    });
  }

  py::tuple Vocabulary(int64_t min_count, int64_t max_final) const {
    WordOrder order;
    {
      py::gil_scoped_release release;
      order = scanner_->FinalOrder(min_count, max_final);
    }
    py::list words(order.types.size());
    Array<int64_t> counts(static_cast<py::ssize_t>(order.types.size()));
    int64_t* count = counts.mutable_data();
    for (std::size_t i = 0; i < order.types.size(); ++i) {
      words[i] = word_bytes_.Word(scanner_->word(order.types[i]));
      count[i] = scanner_->count(order.types[i]);
    }
    Array<int32_t> final_ids(static_cast<py::ssize_t>(order.final_ids.size()),
                             order.final_ids.data());
    return py::make_tuple(words, counts, final_ids);
  }

  const TextScanner& scanner() const { return *scanner_; }

 private:
  template <typename Call>
  Array<int32_t> Take(const Call& call) {
    Status status;
    {
      py::gil_scoped_release release;
      status = call();
    }
    ThrowIfError(status);
    Array<int32_t> ids(scanner_->num_ids());
    int32_t* to = ids.mutable_data();
    {
      py::gil_scoped_release release;
      scanner_->CopyIds(to);
    }
    return ids;
  }

  std::optional<Array<uint32_t>> letters_;
  WordBytes word_bytes_;
  std::unique_ptr<TextScanner> scanner_;
};

// Final ids, with what passes from one part of a text to the next.
class Renumbering {
 public:
  explicit Renumbering(const Array<int32_t>& final_ids)
      : final_ids_(final_ids.data(), final_ids.data() + final_ids.size()) {}

  py::object operator()(Array<int32_t> ids) {
    for (const int32_t* id = ids.data(); id < ids.data() + ids.size(); ++id) {
      if (*id >= static_cast<int64_t>(final_ids_.size())) {
        throw py::value_error("id " + std::to_string(*id) + " is not below " +
                              std::to_string(final_ids_.size()));
      }
    }
    const int64_t left = Renumber(final_ids_, &previous_, ids.mutable_data(), ids.size());
    return ids[py::slice(0, left, 1)];
  }

 private:
  std::vector<int32_t> final_ids_;
  int32_t previous_ = -1;
};

}  // namespace

void BindText(py::module_& module) {
  const auto get = [](auto member) {
    return [member](const Scanner& scanner) { return (scanner.scanner().*member)(); };
  };
  py::class_<Scanner>(module, "TextScanner")
      .def(py::init<int64_t, int64_t, std::optional<py::list>, std::optional<Array<uint32_t>>>(),
           py::arg("max_types") = 0, py::arg("max_sentence") = 10000,
           py::arg("vocabulary") = py::none(), py::arg("letters") = py::none())
      .def("scan", &Scanner::Scan, py::arg("piece"), py::arg("num_threads") = 1)
      .def("end_text", &Scanner::EndText)
      .def("scan_sentences", &Scanner::ScanSentences, py::arg("sentences"))
      .def("vocabulary", &Scanner::Vocabulary, py::arg("min_count") = 1, py::arg("max_final") = 0,
           "(words, counts, final_ids).")
      .def_property_readonly("num_words", get(&TextScanner::num_words))
      .def_property_readonly("num_types", get(&TextScanner::num_types))
      .def_property_readonly("pruned", get(&TextScanner::pruned))
      .def_property_readonly("memory_bytes", get(&TextScanner::memory_bytes));
  py::class_<Renumbering>(module, "Renumbering")
      .def(py::init<const Array<int32_t>&>(), py::arg("final_ids"))
      .def("__call__", &Renumbering::operator(), py::arg("ids"),
           "The ids that are left; they take the place of those given.");
}

}  // namespace fastw2v
