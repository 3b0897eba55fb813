"""Two daemons of ours for js_client.mjs."""

import os
import subprocess
import sys

import checks

with checks.running(lambda f: checks.ours(f, "a"), lambda f: checks.ours(f, "b")) as (a, b):
    # ES modules are found from the folder of the script.
    script = os.path.join(os.environ["JS_MODULES"], "js_client.mjs")
    sys.exit(subprocess.run(["node", script, a.socket, b.socket], timeout=300).returncode)
