"""packages.py - programs of this machine that only bench/run needs, from the distribution."""

import os
import shutil
import subprocess

from messages import say

APT_SECONDS = 600


def install(package, command, purpose):
    """Installs the package unless the command is there, and says so; returns whether it is there then."""
    if shutil.which(command):
        return True
    say("installing %s on this machine, for %s" % (package, purpose))
    environment = dict(os.environ, DEBIAN_FRONTEND="noninteractive")
    try:
        for arguments in ["update"], ["install", "--no-install-recommends", package]:
            done = subprocess.run(["apt-get", "-qq", *arguments], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                  env=environment, timeout=APT_SECONDS)
            if done.returncode:
                break
    except (OSError, subprocess.TimeoutExpired) as error:
        say("%s" % error)
    return bool(shutil.which(command))
