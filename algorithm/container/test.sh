#!/bin/sh
# The OncoReg call, registration:  docker run --entrypoint ./test.sh IMAGE TASK Val|Ts [OPTION OF dinoreg run ...]
exec python -m dinoreg.cli.platforms.oncoreg "$@"
