import pickle

from regtask import DataError, Fault, OutputError, SpaceError, TaskError, nearest


def test_fault_says_all_it_knows():
    fault = Fault("wrong shape", "a.nii", "(1, 2, 3)", "(3, 2, 1)", "transpose it")
    assert str(fault) == "wrong shape: a.nii; expected (1, 2, 3); got (3, 2, 1) -> transpose it"


def test_fault_leaves_out_what_it_does_not_know():
    assert str(Fault("empty file", "a.nii")) == "empty file: a.nii"


def test_error_lists_every_fault():
    error = DataError(Fault("first", "a"), Fault("second", "b"))
    assert len(error.faults) == 2
    assert str(error).splitlines() == ["2 faults:", "  - first: a", "  - second: b"]
    assert str(DataError(Fault("only", "a"))) == "only: a"


def test_exit_codes():
    assert (TaskError.exit_code, DataError.exit_code, SpaceError.exit_code, OutputError.exit_code) == (
        1,
        3,
        3,
        4,
    )
    assert issubclass(SpaceError, DataError)
    assert not issubclass(OutputError, DataError)


def test_error_survives_a_process_boundary():
    error = pickle.loads(pickle.dumps(SpaceError(Fault("a", "b"), Fault("c", "d"))))
    assert isinstance(error, SpaceError)
    assert error.faults == (Fault("a", "b"), Fault("c", "d"))


def test_nearest():
    assert nearest("registration_vall", ["registration_test", "registration_val"]) == "registration_val"
    assert nearest("zzz", ["registration_val"]) is None


def test_text_of_strangers_stays_one_printable_line():
    text = str(Fault("wrong", "a\x1b[31m\nb\ud800", got="x" * 5000))
    assert text.isprintable()
    assert "a\\x1b[31m\\nb\\ud800" in text
    assert len(text) < 2200
    assert "[3000 characters]" in text
