import itertools
import subprocess
import sys
import sysconfig
from pathlib import Path

import numpy
import pytest

from fastw2v.word2vec.corpus import docstrings as docstrings_module
from fastw2v.word2vec.corpus.docstrings import (
    DocstringReader,
    docstrings,
    package_directories,
    prose,
    python_files,
)

NUMPY_STYLE = """Compute the mean along an axis.

    Returns the average of the array
    elements over `axis`.

    Parameters
    ----------
    a : array_like
        Array containing numbers whose mean is desired.
    axis : None or int, optional
        See `numpy.ufuncs` and ``keepdims=True`` for what this does.

    Examples
    --------
    The mean of a matrix::

        a = make this array now
        b = and this array too

    Text after the literal block.

    >>> np.mean(a)
    the output of a doctest is code
    """

GOOGLE_STYLE = """Opens the file.

  Args:
    path: Where the file lies.
    mode (str): How to open the file.

  Returns:
    A file that is open.

  ```python
  this fenced block is code as well
  ```

  ======  ===============
  Key     What a table is
  ======  ===============
  left    some more words of the table
  | left  | some more words of a grid
  """

SPHINX_STYLE = """Sends a request to :class:`~http.Server`.

.. note:: Only once for each connection.

.. code-block:: python

    this is all code here

:param url: The address of the server.
:type url: a string or some bytes
:returns: The answer to the request.

- An item of a list.
* Another item
  of this list.
"""


@pytest.mark.parametrize(
    ("docstring", "paragraphs"),
    [
        ("", []),
        ("Two words", []),
        ("Three short words.", ["Three short words."]),
        (
            NUMPY_STYLE,
            [
                "Compute the mean along an axis.",
                "Returns the average of the array elements over `axis`.",
                "Array containing numbers whose mean is desired.",
                "See and for what this does.",
                "The mean of a matrix::",
                "Text after the literal block.",
            ],
        ),
        (
            GOOGLE_STYLE,
            [
                "Opens the file.",
                "Where the file lies.",
                "How to open the file.",
                "A file that is open.",
            ],
        ),
        (
            SPHINX_STYLE,
            [
                "Sends a request to",
                "Only once for each connection.",
                "The address of the server.",
                "The answer to the request.",
                "An item of a list.",
                "Another item of this list.",
            ],
        ),
        ("a_b c(d) e.f 1.5 x=2 only these three", []),
        ("a\\\\b and a zero\\0byte left out here", ["and a left out here"]),
    ],
)
def test_prose(docstring, paragraphs):
    assert prose(docstring.replace("\\0", "\0")) == paragraphs


def test_docstrings_of_all_definitions_in_their_order():
    source = '''
"""Module."""
def f():
    "Function."
    def inner():
        """Inner function."""
async def g():
    r"""Async \\d function."""
class C:
    \'\'\'Class.\'\'\'
    attribute = 1
    """Not a docstring."""
    def method(self):
        """Method."""
def without():
    return """Not a docstring."""
def f_string():
    f"""Not a {docstring}."""
def byte_string():
    b"""Not a docstring."""
'''
    assert docstrings(source) == [
        "Module.",
        "Function.",
        "Inner function.",
        "Async \\d function.",
        "Class.",
        "Method.",
    ]


def test_package_directories_hold_the_standard_library_and_the_packages():
    directories = package_directories()
    assert Path(sysconfig.get_path("stdlib")) in directories
    assert Path(numpy.__file__).parents[1] in directories


@pytest.fixture
def package(tmp_path):
    """A small package with all that is met in the wild."""

    def write(name, text):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text if isinstance(text, bytes) else text.encode())

    write("a/__init__.py", '"""Everything about small animals."""\n')
    write("a/cats.py", 'def f():\n    """Feeds the cat.\n\n    Returns the happy cat.\n    """\n')
    write("a/dogs.py", 'def f():\n    """Feeds the dog.\n\n    Returns the happy cat.\n    """\n')
    write("a/latin.py", '# coding: latin-1\n"""Größe der kleinen Katze."""\n'.encode("latin-1"))
    write("a/no_docstring.py", "x = 1\n")
    write("a/warning.py", '"""A module with \\d in it."""\n')
    write("bad/undecodable.py", b'"""Gr\xf6\xdfe der Katze."""\n')
    write("bad/syntax.py", 'print "old"\n"""text"""\n')
    write("bad/zero.py", b'"""text"""\0\n')
    write("bad/deep.py", '"""text"""\nx = ' + "(" * 5000 + ")" * 5000)
    write("a/tests/helper.py", '"""A test of the cats."""\n')
    write("a/test_cats.py", '"""A test of the cats."""\n')
    write("a/cats_test.py", '"""A test of the cats."""\n')
    write("site-packages/other.py", '"""Another place of packages."""\n')
    write("a/data.txt", '"""This is not Python."""\n')
    (tmp_path / "bad/dangling.py").symlink_to(tmp_path / "nowhere.py")
    return tmp_path


def test_python_files(package):
    names = [str(path.relative_to(package)) for path in python_files([package, package / "a"])]
    assert names == [
        "a/__init__.py",
        "a/cats.py",
        "a/dogs.py",
        "a/latin.py",
        "a/no_docstring.py",
        "a/warning.py",
        "bad/dangling.py",
        "bad/deep.py",
        "bad/syntax.py",
        "bad/undecodable.py",
        "bad/zero.py",
    ]


@pytest.mark.parametrize("processes", [1, 2])
def test_docstring_reader(package, processes, capfd):
    reader = DocstringReader([package], processes)
    assert "".join(reader).splitlines() == [
        "Everything about small animals.",
        "Feeds the cat.",
        "Returns the happy cat.",
        "Feeds the dog.",
        "Größe der kleinen Katze.",
        "A module with in it.",
    ]
    assert reader.num_files == reader.num_read == 11
    assert reader.num_unreadable == 5
    assert reader.num_docstrings == 5
    assert reader.num_repeated == 1
    assert capfd.readouterr() == ("", "")


def test_docstring_reader_ends_early(package):
    reader = DocstringReader([package], processes=1)
    assert list(itertools.islice(reader, 2))[1] == "Feeds the cat.\nReturns the happy cat.\n"
    assert reader.num_read == 2


def test_docstring_reader_in_a_program_that_does_not_guard_its_main_part(package):
    program = package / "program.py"
    program.write_text(
        "from fastw2v.word2vec.corpus import DocstringReader\n"
        f"print(len(list(DocstringReader([{str(package / 'a')!r}], processes=2))))\n"
    )
    finished = subprocess.run([sys.executable, program], capture_output=True, text=True)
    assert (finished.stdout, finished.stderr) == ("6\n", "")


def test_docstring_reader_tells_that_a_process_ended(package, monkeypatch):
    monkeypatch.setattr(docstrings_module, "__file__", "/dev/null")  # a program that does nothing
    with pytest.raises(OSError, match="the process that parses .*/a/__init__.py ended early"):
        list(DocstringReader([package], processes=1))
