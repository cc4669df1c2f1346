#!/bin/sh
# Checks the messages of all sample incidents against Slack's own types (npm: @slack/types), with TypeScript's compiler.
# Needs node and npm; everything is installed into a temporary folder that is removed at the end.
set -eu
cd "$(dirname "$0")/.."
python=${PYTHON:-.venv/bin/python}
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
PYTHONPATH=. "$python" scripts/slack_types.py > "$folder/messages.ts"
cd "$folder"
npm init --yes > npm.log 2>&1
npm install --silent --no-audit --no-fund @slack/types@2 typescript@5 >> npm.log 2>&1 || { cat npm.log; exit 1; }
npx --no-install tsc --strict --noEmit --target es2022 --module nodenext --moduleResolution nodenext --skipLibCheck messages.ts
echo "$(grep -c 'KnownBlock\[\] =' messages.ts) messages are what Slack's types say"
