from dinoreg.pretrain.checkpoint import Progress
from dinoreg.pretrain.log import write_log


def test_the_log_of_parts_that_are_not_in_every_step(tmp_path):
    rows = [{"loss": 2.5}, {"contrastive": 1.25, "loss": 0.1234567}]
    write_log(tmp_path, Progress(2, 1.0, rows, [{"step": 2, "median_mm": 9.0, "near": 0.5, "organ": 0.25}]))
    assert (tmp_path / "loss.csv").read_text() == "step,loss,contrastive\n1,2.5,\n2,0.123457,1.25\n"
    assert (tmp_path / "scores.csv").read_text() == "step,median_mm,near,organ\n2,9,0.5,0.25\n"
    assert (tmp_path / "curves.png").read_bytes()[:4] == b"\x89PNG"
