"""`fastw2v.Doc2Vec`: vectors of documents, of those of training and of new ones."""

from __future__ import annotations

import copy
import pickle
from types import SimpleNamespace

import numpy as np
import pytest

import fastw2v
from fastw2v import Doc2Vec, TaggedDocument
from fastw2v.word2vec.corpus import read_corpus, read_documents

FORMS = {
    "PV-DBOW": {"dm": 0},
    "PV-DBOW and words": {"dm": 0, "dbow_words": 1},
    "PV-DM": {},
    "PV-DM with sums": {"dm_mean": 0},
    "PV-DBOW, tree": {"dm": 0, "hs": 1, "negative": 0},
    "PV-DM, tree": {"hs": 1, "negative": 0},
    "PV-DBOW, tree and noise": {"dm": 0, "hs": 1},
}
forms = pytest.mark.parametrize("form", FORMS)


def texts(topics=4, documents=60, words=40, seed=0):
    """Documents of one topic each, and the topics: a topic has twenty words of its own."""
    rng = np.random.default_rng(seed)
    of = np.arange(documents) % topics
    return [[f"t{k}w{w}" for w in rng.integers(20, size=words)] for k in of], of


def tagged(words):
    return [TaggedDocument(each, [k]) for k, each in enumerate(words)]


def options(form="PV-DBOW", **others):
    return {
        **{"vector_size": 16, "min_count": 1, "sample": 0, "epochs": 20, "window": 3},
        **{"alpha": 0.05, "seed": 3, "workers": 1},
        **FORMS[form],
        **others,
    }


def unit(vectors):
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


@forms
def test_documents_and_new_ones_are_near_those_of_their_topic(form):
    words, topics = texts()
    model = Doc2Vec(iter(tagged(words)), **options(form))  # gone through once
    assert model.dv.index_to_key == list(range(60)) and model.dv.vectors.shape == (60, 16)
    assert model.losses[-1] < model.losses[0] and len(model.losses) == 20
    new, topics_of_new = texts(seed=1)
    for vectors, of in (
        (model.dv.vectors, topics),
        (model.infer_vectors(words), topics),
        (model.infer_vectors(new), topics_of_new),
    ):
        nearness = unit(vectors) @ unit(model.dv.vectors).T
        same = of[:, None] == topics
        assert nearness[same].mean() > nearness[~same].mean() + 0.2
    nearest = topics[nearness.argmax(axis=1)]
    assert np.mean(nearest == topics_of_new) > 0.5
    [(tag, _)] = model.dv.most_similar([model.infer_vector(new[2])], topn=1)
    assert topics[tag] == nearest[2]


@forms
def test_a_document_is_inferred_alone_and_always_alike(form):
    words, _ = texts()
    model = Doc2Vec(tagged(words), **options(form, epochs=3))
    before = {name: table.numpy() for name, table in model._named_tables().items()}
    alone = model.infer_vector(words[5])
    np.testing.assert_array_equal(alone, model.infer_vector(words[5]))
    several = model.infer_vectors([words[8], [], words[5], ["unknown"], words[5][:1]])
    np.testing.assert_array_equal(several[2], alone)
    assert not several[1].any() and not several[3].any() and several[4].any()
    for name, table in before.items():
        np.testing.assert_array_equal(table, getattr(model, name))
    assert model.similarity_unseen_docs(words[5], words[5]) == pytest.approx(1, abs=1e-6)
    assert model.similarity_unseen_docs(words[5], []) == 0
    assert not np.array_equal(alone, model.infer_vector(words[5], epochs=9))
    assert not np.array_equal(alone, model.infer_vector(words[5], alpha=0.2, min_alpha=0.1))
    assert model.infer_vectors([]).shape == (0, 16)


@forms
def test_training_moves_the_tables_of_its_form(form):
    words, _ = texts()
    model = Doc2Vec(**options(form))
    model.build_vocab(tagged(words))
    before = {name: table.numpy() for name, table in model._named_tables().items()}
    model.train(tagged(words), total_examples=model.corpus_count, epochs=1)
    moved = {name for name in before if not np.array_equal(before[name], getattr(model, name))}
    learns_words = not model.settings.sg or model.settings.dbow_words
    assert moved == before.keys() - (set() if learns_words else {"embeddings"})


@forms
@pytest.mark.parametrize("workers", [1, 2])
def test_deterministic_training_has_the_same_bits(form, workers):
    words, _ = texts()
    model = Doc2Vec(tagged(words), **options(form, epochs=2, deterministic=True))
    again = Doc2Vec(tagged(words), **options(form, epochs=2, deterministic=True, workers=workers))
    np.testing.assert_array_equal(model.dv.vectors, again.dv.vectors)
    np.testing.assert_array_equal(model.wv.vectors, again.wv.vectors)


def test_tags_may_be_shared_and_of_both_types():
    words, topics = texts()
    model = Doc2Vec(
        [TaggedDocument(each, [k, f"topic {topics[k]}"]) for k, each in enumerate(words)],
        **options(),
    )
    assert len(model.dv) == 64 and model.dv["topic 3"].shape == (16,)
    assert [topics[tag] for tag, _ in model.dv.most_similar("topic 3", topn=3)] == [3] * 3
    assert model.dv.get_vecattr("topic 3", "count") == 15


@forms
def test_a_saved_model_is_the_same(form, tmp_path):
    words, _ = texts()
    model = Doc2Vec(tagged(words), **options(form, epochs=2, comment="mine"))
    model.save(tmp_path / "model")
    for same in (
        Doc2Vec.load(tmp_path / "model"),
        pickle.loads(pickle.dumps(model)),
        copy.deepcopy(model),
    ):
        assert str(same) == str(model) and same.settings == model.settings
        assert same.dv.index_to_key == model.dv.index_to_key
        np.testing.assert_array_equal(same.dv.vectors, model.dv.vectors)
        np.testing.assert_array_equal(same.infer_vector(words[0]), model.infer_vector(words[0]))
    vectors = fastw2v.WordVectors.load(tmp_path / "model")
    np.testing.assert_array_equal(vectors["t0w1"], model.wv["t0w1"])
    model.dv.save(tmp_path / "documents.npz")
    assert fastw2v.WordVectors.load(tmp_path / "documents.npz").index_to_key[7] == 7


def test_a_training_that_was_interrupted_goes_on(tmp_path):
    words, _ = texts()
    whole = Doc2Vec(tagged(words), **options())

    class Stop:
        def on_epoch_end(self, model):
            if len(model.losses) == 4:
                raise KeyboardInterrupt

    model = Doc2Vec(**options())
    model.build_vocab(tagged(words))
    with pytest.raises(KeyboardInterrupt):
        model.train(callbacks=[Stop()])
    model.save(tmp_path / "model")
    model = Doc2Vec.load(tmp_path / "model")
    model.train(tagged(words), resume=True)
    np.testing.assert_array_equal(model.dv.vectors, whole.dv.vectors)


def test_what_is_written_into_dv_is_trained():
    words, _ = texts()
    model = Doc2Vec(**options())
    model.build_vocab(tagged(words))
    model.dv.vectors[3] = 0.25
    np.testing.assert_array_equal(model.documents[3], np.full(16, 0.25))
    held = model.dv.vectors
    model.train(epochs=1)
    assert not np.array_equal(held, model.dv.vectors)
    with pytest.raises(ValueError, match="the model has no document 'new', and gets no new ones"):
        model.dv["new"] = np.zeros(16)


def test_documents_come_from_lines_of_a_file(tmp_path):
    words, _ = texts()
    path = tmp_path / "text.txt"
    path.write_text("\n".join(" ".join(each) for each in words) + "\n")
    model = Doc2Vec(corpus_file=path, **options())
    same = Doc2Vec(tagged(words), **options())
    np.testing.assert_array_equal(model.dv.vectors, same.dv.vectors)
    model.train(corpus_file=path, epochs=1)


def test_words_may_be_chosen_by_a_rule_and_begin_at_given_vectors():
    words, _ = texts()
    given = fastw2v.WordVectors(["t0w0", "t1w1"], np.eye(2, 16))
    model = Doc2Vec(**options(epochs=1))
    model.build_vocab(
        tagged(words), trim_rule=lambda word, *_: 1 if word == "t0w1" else 0, pretrained=given
    )
    assert "t0w1" not in model.wv and len(model.dv) == 60
    np.testing.assert_array_equal(model.wv["t0w0"], np.eye(2, 16)[0])
    assert model.train()[0] == sum(word != "t0w1" for each in words for word in each)


def test_a_corpus_that_was_read_is_taken():
    words, _ = texts()
    corpus = read_documents(tagged(words), min_count=1)
    model = Doc2Vec(corpus, **options())
    same = Doc2Vec(tagged(words), **options())
    np.testing.assert_array_equal(model.dv.vectors, same.dv.vectors)


def test_names_of_gensim():
    model = Doc2Vec(dm=0, dbow_words=1, comment="c", negative=5, min_count=2, workers=1)
    assert str(model) == "Doc2Vec<c,dbow+w,d100,n5,w5,mc2,s0.001>"
    assert model.dbow and not model.dm and model.epochs == 10
    assert (
        str(Doc2Vec(hs=1, negative=0, dm_mean=0, sample=0, min_count=1))
        == "Doc2Vec<dm/s,d100,hs,w5>"
    )
    model.build_vocab(tagged(texts()[0]))
    assert model.docvecs is model.dv
    assert model.estimate_memory()["doctag_syn0"] == 60 * 100 * 4
    other = Doc2Vec()
    other.reset_from(model)
    assert other.dv.index_to_key == model.dv.index_to_key


BAD = {
    "concatenation": (lambda: Doc2Vec(dm_concat=1), ValueError, "dm_concat = 1 and dm_tag_count"),
    "dm": (lambda: Doc2Vec(dm=2), ValueError, r"dm = 2 is not a Python integer in \[0, 1\]"),
    "dm_mean": (lambda: Doc2Vec(dm_mean=-1), ValueError, "dm_mean = -1 is not"),
    "dbow_words": (lambda: Doc2Vec(dbow_words=3), ValueError, "dbow_words = 3 is not"),
    "nothing to train": (lambda: Doc2Vec(negative=0), ValueError, "negative = 0 leaves nothing"),
    "an unknown argument": (
        lambda: Doc2Vec(tagged(texts()[0]), size=5),
        TypeError,
        r"Doc2Vec\(\) got an unexpected keyword argument 'size'; did you mean 'vector_size'",
    ),
    "sg": (lambda: Doc2Vec(sg=1), TypeError, "unexpected keyword argument 'sg'"),
    "sentences": (lambda: Doc2Vec([["a", "b"]]), TypeError, "is a list, not a document"),
    "a path as documents": (lambda: Doc2Vec("text.txt"), ValueError, "documents = 'text.txt' is"),
    "both": (lambda: Doc2Vec([], "text.txt"), ValueError, "either documents or corpus_file"),
    "rare words": (
        lambda: Doc2Vec([TaggedDocument(["a"], [0])]),
        ValueError,
        "no word occurs at least min_count = 5 times",
    ),
    "no documents": (lambda: Doc2Vec([]), ValueError, "no word occurs"),
    "inference before": (lambda: Doc2Vec().infer_vector(["a"]), ValueError, "no vocabulary yet"),
    "dv before": (lambda: Doc2Vec().dv, ValueError, "no vocabulary yet"),
    "a corpus of sentences": (
        lambda: Doc2Vec(fastw2v.word2vec.corpus.read_corpus([["a", "b"]], min_count=1)),
        TypeError,
        "the corpus has no documents",
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_arguments_are_refused(name):
    make, error, message = BAD[name]
    with pytest.raises(error, match=message):
        make()


BAD_CALLS = {
    "a str": (lambda model: model.infer_vector("a b"), TypeError, "'a b' is a str, not a list"),
    "no epochs": (lambda model: model.infer_vector(["a"], epochs=0), ValueError, "epochs = 0 is"),
    "a rate": (lambda model: model.infer_vector(["a"], alpha=-1), ValueError, "alpha = -1 is not"),
    "NaN": (
        lambda model: model.infer_vector(["a"], min_alpha=float("nan")),
        ValueError,
        "min_alpha = nan is not",
    ),
    "an unknown tag": (
        lambda model: model.train([TaggedDocument(["a"], ["new"])]),
        ValueError,
        "the tag 'new' of document 1 is not one of the 60",
    ),
    "more documents": (
        lambda model: model.build_vocab(tagged([["a"]]), update=True),
        ValueError,
        "update = True: a model gets no new documents",
    ),
    "counts alone": (lambda model: model.build_vocab_from_freq({"a": 5}), TypeError, "documents"),
    "evaluate": (lambda model: model.evaluate([["a"]]), TypeError, "evaluate is for Word2Vec"),
    "score": (lambda model: model.score([["a"]]), TypeError, "score is for Word2Vec"),
    "a tag that is not there": (lambda model: model.dv["none"], KeyError, "none"),
    "another form": (lambda model: setattr(model, "sg", 1), AttributeError, "sg is 0 and decides"),
    "a loss": (lambda model: setattr(model, "loss", "softmax"), ValueError, "negative or hs"),
    "documents read with other tags": (
        lambda model: model.train(
            read_documents(tagged(texts()[0])[::-1], vocabulary=model.vocabulary)
        ),
        ValueError,
        "numbered by other tags",
    ),
    "sentences": (
        lambda model: model.train(read_corpus(texts()[0], vocabulary=model.vocabulary)),
        TypeError,
        "the corpus has no documents",
    ),
    "vectors of words": (lambda model: setattr(model, "wv", model.wv), TypeError, "pretrained"),
    "more vectors": (
        lambda model: setattr(model.dv, "vectors", np.zeros((99, model.vector_size))),
        ValueError,
        "vectors has shape",
    ),
    "the words of another model": (
        lambda model: model.reset_from(fastw2v.Word2Vec([["a", "b"]] * 9, sample=0)),
        TypeError,
        "other_model is a Word2Vec",
    ),
}


@pytest.mark.parametrize("name", BAD_CALLS)
def test_bad_calls_are_refused(name):
    call, error, message = BAD_CALLS[name]
    model = Doc2Vec(**options("PV-DM"))
    model.build_vocab(tagged(texts()[0]))
    before = model.dv.vectors.copy()
    with pytest.raises(error, match=message):
        call(model)
    np.testing.assert_array_equal(before, model.dv.vectors)


def test_the_other_class_does_not_read_a_file(tmp_path):
    words, _ = texts()
    Doc2Vec(tagged(words), **options(epochs=1)).save(tmp_path / "documents")
    with pytest.raises(ValueError, match=r"is a model of Doc2Vec: load it by Doc2Vec.load"):
        fastw2v.Word2Vec.load(tmp_path / "documents")
    fastw2v.Word2Vec(words, min_count=1, vector_size=4, epochs=1).save(tmp_path / "words")
    with pytest.raises(ValueError, match=r"is a model of Word2Vec: load it by Word2Vec.load"):
        Doc2Vec.load(tmp_path / "words")


def test_a_training_that_runs_away_names_the_document():
    words, _ = texts()
    model = Doc2Vec(**options(epochs=1))
    model.build_vocab(tagged(words))
    model.dv.vectors[7] = 1e6
    with pytest.raises(ValueError, match="the vector of the document 7 has length"):
        model.train()


def test_several_workers_are_refused():
    model = Doc2Vec(**options())
    model.build_vocab(tagged(texts()[0]))
    model._workers = SimpleNamespace(number=2)
    with pytest.raises(ValueError, match="Doc2Vec is trained by one worker"):
        model.train()


def test_documents_do_not_train_other_models():
    corpus = read_documents(tagged(texts()[0]))
    for kind in (fastw2v.Word2Vec, fastw2v.FastText):
        with pytest.raises(TypeError, match=r"the corpus is of documents: train fastw2v\.Doc2Vec"):
            kind(corpus)
    model = Doc2Vec(**options())
    model.build_vocab(tagged(texts()[0]))
    with pytest.raises(TypeError, match="other_model is a Doc2Vec"):
        fastw2v.Word2Vec().reset_from(model)


def test_words_added_to_the_vectors_are_inferred_with():
    model = Doc2Vec(**options("PV-DM"))
    model.build_vocab(tagged(texts()[0]))
    model.wv["new"] = np.ones(model.vector_size, np.float32)
    first, second = (model.infer_vector(["new", "new", model.wv.words[0]]) for _ in range(2))
    np.testing.assert_array_equal(first, second)


def test_a_pickle_of_gensim_is_named(tmp_path):
    (tmp_path / "gensim").write_bytes(pickle.dumps({"a": 1}))
    with pytest.raises(ValueError, match="of gensim's models those of Word2Vec alone are read"):
        Doc2Vec.load(tmp_path / "gensim")
