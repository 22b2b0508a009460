#!/bin/sh
# Deploys a project to a directory that plays the part of a server:
#
#     examples/deploy.sh PROJECT SERVERS ENVIRONMENT
#
# A release is packed, copied, unpacked beside the running one and checked; then `current` is switched to
# it in one step. When the release does not answer, `current` goes back to what it was. The last three
# releases are kept.
set -eu

project=$1 environment=$3
case $environment in
'' | *[!a-z]*) echo "not an environment: $environment" >&2 && exit 2 ;;
esac
mkdir -p "$2/$environment/releases" "$2/$environment/incoming"
server=$(cd "$2/$environment" && pwd)
steps=6
drain=${DEPLOY_DRAIN:-1} # seconds for requests under way to end, before and after the switch

step() {
    echo "::jobcast progress $1/$steps $2"
    echo "[$1/$steps] $2"
}

# A new release every time, also for two deployments within one second.
release=$(date -u +%Y%m%dT%H%M%SZ)-$$
package=$server/incoming/$release.tar.gz
trap 'rm -f "$package" "$package.part"' EXIT
previous=$(readlink "$server/current" 2>/dev/null || true)

step 1 "Packing $(basename "$(cd "$project" && pwd)")"
tar -C "$project" --exclude=__pycache__ --exclude=.pytest_cache -czf "$package.part" .

step 2 "Copying to $environment"
mv "$package.part" "$package"
sleep "$drain"

step 3 "Unpacking release $release"
mkdir "$server/releases/$release"
tar -C "$server/releases/$release" -xzf "$package"

step 4 "Checking the release"
cd "$server"
answers() {
    (cd "$1" && PYTHONDONTWRITEBYTECODE=1 python -c 'import shop.api, shop.auth, shop.orders; print(shop.__version__)')
}
version=$(answers "releases/$release") || {
    echo "the release does not start; $environment is as it was" >&2
    exit 1
}
sleep "$drain"

step 5 "Switching to version $version"
switch() {
    ln -s "$1" "current.$$"
    # A rename replaces the old link at once; `ln -sf` would leave a moment without any.
    python -c 'import os, sys; os.replace(*sys.argv[1:])' "current.$$" current
}
switch "releases/$release"
sleep "$drain"

step 6 "Asking $environment how it is"
tries=0
until [ "$(answers current)" = "$version" ]; do
    tries=$((tries + 1))
    if [ "$tries" -ge 3 ]; then
        [ -z "$previous" ] || switch "$previous"
        echo "$environment does not answer; back at ${previous:-nothing}" >&2
        exit 1
    fi
    sleep 1
done
echo "$environment runs version $version"

# Names sort by time; whatever is older than the newest three goes.
ls -1 releases | sort -r | tail -n +4 | while read -r old; do rm -rf "releases/$old"; done
echo "::jobcast result {\"environment\": \"$environment\", \"version\": \"$version\", \"release\": \"$release\"}"
