// csrc/core/text.h on Python's strings and NumPy arrays.
#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "csrc/core/text.h"
#include "csrc/python/support.h"

namespace fastw2v {
namespace {

namespace py = pybind11;

std::string_view Utf8(py::handle word) {
  if (!PyUnicode_Check(word.ptr())) {
    throw py::type_error("the word " + py::repr(word).cast<std::string>() + " is no str");
  }
  Py_ssize_t size = 0;
  const char* data = PyUnicode_AsUTF8AndSize(word.ptr(), &size);
  if (data == nullptr) {  // half of a surrogate pair
    PyErr_Clear();
    throw py::value_error("the word " + py::repr(word).cast<std::string>() +
                          " cannot be written in UTF-8");
  }
  return {data, static_cast<std::size_t>(size)};
}

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
    std::vector<std::string_view> words;
    words.reserve(vocabulary->size());
    for (const py::handle word : *vocabulary) words.push_back(Utf8(word));
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
        const std::string_view text = Utf8(word);
        bytes.append(text);
        lengths.push_back(static_cast<int64_t>(text.size()));
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
      const std::string_view word = scanner_->word(order.types[i]);
      words[i] = py::str(word.data(), word.size());
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
  std::unique_ptr<TextScanner> scanner_;
};

// Final ids, with what passes from one part of a text to the next.
class Renumbering {
 public:
  explicit Renumbering(const Array<int32_t>& final_ids)
      : final_ids_(final_ids.data(), final_ids.data() + final_ids.size()) {}

  py::object operator()(Array<int32_t> ids) {
    for (const int32_t* id = ids.data(); id < ids.data() + ids.size(); ++id) {
      if (*id < -1 || *id >= static_cast<int64_t>(final_ids_.size())) {
        throw py::value_error("id " + std::to_string(*id) + " is not in [-1, " +
                              std::to_string(final_ids_.size()) + ")");
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
