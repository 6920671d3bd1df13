"""Output that the terminal can show and that does not control it."""

import io
import sys

import pytest
from conftest import run_python

import build
from kernel import catalog
from kernel.folders import ROOT
from kernel.terminal import clean_line, join_words, safe_output


@pytest.mark.parametrize(
    "text, shown",
    [
        ("a\tb\n\u56e2\u961f \u00e9", "a\tb\n\u56e2\u961f \u00e9"),
        ("\x1b[2J\x1b]0;title\x07", r"\x1b[2J\x1b]0;title\x07"),
        ("\r\x00\x7f\x9b", r"\r\x00\x7f\x9b"),
        ("\u202egnp.exe\u2066", r"\u202egnp.exe\u2066"),
        ("\ud800", r"\ud800"),
    ],
)
def test_what_controls_a_terminal_is_shown_as_an_escape(text, shown, monkeypatch):
    for name in ("stdout", "stderr"):
        monkeypatch.setattr(sys, name, io.TextIOWrapper(io.BytesIO(), "utf-8", newline="\n"))
    streams = sys.stdout, sys.stderr
    with safe_output():
        print("a line")  # reaches a file or a pipe at once
        assert sys.stdout.buffer.getvalue() == b"a line\n"
        sys.stdout.buffer.truncate(sys.stdout.buffer.seek(0))
        print(text, end="")
        print(text, end="", file=sys.stderr, flush=True)
    assert (sys.stdout, sys.stderr) == streams
    assert sys.stdout.errors == sys.stderr.errors == "strict"
    for stream in streams:
        stream.flush()
        assert stream.buffer.getvalue().decode("utf-8") == shown


def test_the_messages_of_errors_are_safe_too(monkeypatch, capsys):
    def fail(args, runs):
        raise OSError("the kernel said: \x1b[2J")

    monkeypatch.setattr(catalog, "show_catalog", fail)
    assert build.main(["list"]) == 1
    assert capsys.readouterr().err == "build.py: error: the kernel said: \\x1b[2J\n"


def test_a_stream_that_is_closed_is_left_alone(monkeypatch):
    monkeypatch.setattr(sys, "stdout", None)
    assert build.main(["list"]) == 0


@pytest.mark.parametrize("encoding", ["ascii", "cp1252"])
def test_a_command_prints_in_any_encoding(encoding):
    result = run_python([ROOT / "build.py", "output", "\u56e2\u961f"], PYTHONIOENCODING=encoding)
    assert result.returncode == 1 and "Traceback" not in result.stderr


@pytest.mark.parametrize(
    "word, sh, windows",
    [
        ("epochs=3", "epochs=3", "epochs=3"),
        ("*.csv", "'*.csv'", '"*.csv"'),
        ("folds=0,1", "folds=0,1", '"folds=0,1"'),  # PowerShell makes two words of it
        ("C:\\my data\\", "'C:\\my data\\'", r'"C:\my data\\"'),
        ('say "a"', "'say \"a\"'", r'"say \"a\""'),
        ("a&b", "'a&b'", '"a&b"'),
    ],
)
def test_a_command_can_be_pasted_into_the_system_s_shell(word, sh, windows):
    assert join_words(["run", word], on_windows=False) == f"run {sh}"
    assert join_words(["run", word], on_windows=True) == f"run {windows}"


@pytest.mark.parametrize(
    "name, line",
    [
        ("Team \u56e2\u961f $x$", "Team \u56e2\u961f $x$"),
        ("a\x1b[2J\r\n  1  forged\u2028row\u202e", "a [2J 1 forged row"),
        (" \x00 ", ""),
        (None, ""),
    ],
)
def test_a_name_is_one_line_without_control_characters(name, line):
    assert clean_line(name) == line
