"""Train in two processes, then resume in the middle; each rank writes the batches that it received.

Run as a program: Lightning starts the second process by running it again.
"""

import json
import sys
from pathlib import Path

from tests.adapters.recording import Recorder, SaveEach, trainer
from tests.adapters.test_data_order import numbers

if __name__ == "__main__":
    folder = Path(sys.argv[1])
    saving, whole, rest = SaveEach(folder), Recorder(), Recorder()
    two = {"devices": 2, "strategy": "ddp", "max_epochs": 2}
    trainer(folder, saving, **two).fit(whole, numbers(batch_size=1))
    trainer(folder, **two).fit(rest, numbers(batch_size=1), ckpt_path=saving.saved[2])
    (folder / f"{whole.global_rank}.json").write_text(json.dumps([whole.fed, rest.fed]))
