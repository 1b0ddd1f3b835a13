"""What scripts/check-deploy looks at: each check is a function that yields a sentence for each thing that is wrong."""

from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
DEPLOY = ROOT / "deploy"
