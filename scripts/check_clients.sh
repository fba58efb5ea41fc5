#!/usr/bin/env bash
# Runs the clients that people have against the server: OpenAI's (Python and JavaScript), Anthropic's, LangChain, LlamaIndex
# and a LiteLLM proxy; schemathesis against the description of the API; and aiperf and guidellm, whose counts are compared with
# the log's. They are installed into a folder of the user's cache the first time. Needs Python 3.10 with venv, and Node.js with
# npm; says so and does nothing where they are missing, unless FLAMBEAU_CLIENTS=required.
set -euo pipefail
cd "$(dirname "$0")/.."

# FLAMBEAU=PROGRAM runs that one; else it is built.
missing=
python3 -c 'import ensurepip, venv' 2>/dev/null || missing='Python with venv'
command -v npm >/dev/null || missing="${missing:+$missing and }Node.js with npm"
if [ -n "$missing" ]; then
    echo "clients: $missing missing; skipped"
    [ "${FLAMBEAU_CLIENTS:-}" != required ]
    exit
fi

cache="${XDG_CACHE_HOME:-$HOME/.cache}/flambeau-clients"
mkdir -p "$cache"
if ! cmp -s tests/clients/requirements.txt "$cache/installed.txt"; then
    python3 -m venv "$cache/python"
    "$cache/python/bin/pip" install --quiet --upgrade -r tests/clients/requirements.txt
    npm install --silent --no-audit --no-fund --prefix "$cache/node" openai
    cp tests/clients/requirements.txt "$cache/installed.txt"
fi
if ! cmp -s tests/clients/load_requirements.txt "$cache/installed_load.txt"; then
    python3 -m venv "$cache/load"
    "$cache/load/bin/pip" install --quiet --upgrade -r tests/clients/load_requirements.txt
    cp tests/clients/load_requirements.txt "$cache/installed_load.txt"
fi

free_port() { python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'; }
port=$(free_port)
export PROXY_PORT FLAMBEAU_BASE="http://127.0.0.1:$port" FLAMBEAU_KEY=key-of-the-client-tests
PROXY_PORT=$(free_port)
program="${FLAMBEAU:-}"
if [ -z "$program" ]; then
    cargo build --release --locked --quiet
    program="${CARGO_TARGET_DIR:-target}/release/flambeau"
fi
# Serves with these options until the script ends, and waits until it does.
serve() {
    "$program" serve --port "$port" "$@" >"$cache/requests.log" 2>"$cache/server.log" &
    server=$!
    trap stop EXIT
    for _ in $(seq 600); do
        python3 -c "import urllib.request; urllib.request.urlopen('$FLAMBEAU_BASE/ready')" 2>/dev/null && break
        kill -0 $server || { cat "$cache/server.log"; exit 1; }
        sleep 0.1
    done
}
stop() {
    kill $server 2>/dev/null || true
    wait $server 2>/dev/null || true
}

# Few places, so that a busy moment is easy to make.
serve --api-key "$FLAMBEAU_KEY" --max-num-seqs 2 --max-queued-requests 2
for test in openai_client anthropic_client frameworks; do
    PYTHONPATH=tests/clients "$cache/python/bin/python" "tests/clients/$test.py"
done
# Modules are looked for beside the file.
mkdir -p "$cache/node/tests" && cp tests/clients/openai_client.mjs "$cache/node/tests/"
node "$cache/node/tests/openai_client.mjs"
stop

# Everything that the description allows, and what it does not: no failure of the server, no answer that is not described, and
# nothing accepted that should not be. Short answers, so that it gets far.
serve --api-key "$FLAMBEAU_KEY" --max-model-len 96
# What it keeps goes where it runs.
cd "$cache"
"$cache/python/bin/st" run "$FLAMBEAU_BASE/openapi.json" --header "Authorization: Bearer $FLAMBEAU_KEY" \
    --checks not_a_server_error,status_code_conformance,content_type_conformance,response_headers_conformance,response_schema_conformance,negative_data_rejection \
    --phases coverage,fuzzing --max-examples 10 --max-time 120 --seed 1 --no-shrink --continue-on-failure \
    --request-timeout 60 --workers 2 --warnings off --no-color
cd - >/dev/null
stop

# Of few cores one is left to them.
serve --threads 1
"$cache/load/bin/python" tests/clients/load_generators.py "$cache/requests.log" "$cache"
