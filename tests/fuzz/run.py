"""Coverage-guided fuzzing of one target: `python tests/fuzz/run.py TARGET SECONDS`.

Needs `atheris`, which is no requirement of the project: run it in a virtual environment of its own.
A broken sentence ends the run with its traceback and leaves the input in the corpus folder, whose
name is printed; `python tests/fuzz/run.py TARGET FILE` plays that input again.
"""

import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent.parent))

try:
    import atheris
except ImportError:
    sys.exit("atheris is not installed here; `pip install atheris` in a scratch environment")

INPUT_BYTES_MAX = 1024
MEMORY_MIB_MAX = 512

with atheris.instrument_imports(include=["protocols", "provisioning", "edge"]):
    from tests.fuzz.targets import TARGETS


def main(arguments: list[str]) -> None:
    """Runs until the time is over or an input breaks the sentence."""
    if len(arguments) != 2 or arguments[0] not in TARGETS:
        sys.exit(f"give a target ({', '.join(TARGETS)}) and seconds, or the file to play again")
    target = TARGETS[arguments[0]]
    if Path(arguments[1]).is_file():
        target.check(Path(arguments[1]).read_bytes())
        sys.exit(f"{arguments[1]} keeps the sentence")
    corpus = Path(tempfile.mkdtemp(prefix=f"fuzz-{arguments[0]}-"))
    for number, seed in enumerate(target.seeds):
        (corpus / f"seed-{number:03d}").write_bytes(seed)
    print(f"corpus {corpus}", flush=True)
    options = [
        sys.argv[0],
        str(corpus),
        f"-max_total_time={int(arguments[1])}",
        f"-max_len={INPUT_BYTES_MAX}",
        f"-rss_limit_mb={MEMORY_MIB_MAX}",
        f"-artifact_prefix={corpus}/",
        "-print_final_stats=1",
    ]
    atheris.Setup(options, target.check)
    atheris.Fuzz()


if __name__ == "__main__":
    main(sys.argv[1:])
