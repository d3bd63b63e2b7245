#!/bin/bash
# SPDX-License-Identifier: MIT
#
# git.sh - git on Ashlar: a history of some hundred commits with branches and merges, gc, fsck, the same objects as on libc.
# shellcheck source=test/support/lib.sh
source "$ROOT/test/support/lib.sh"
export GIT_CONFIG_NOSYSTEM=1 GIT_CONFIG_GLOBAL=/dev/null HOME=$TMPDIR
export GIT_AUTHOR_NAME=a GIT_AUTHOR_EMAIL=a@b GIT_COMMITTER_NAME=a GIT_COMMITTER_EMAIL=a@b
export GIT_AUTHOR_DATE='1700000000 +0000' GIT_COMMITTER_DATE='1700000000 +0000'

cat >"$TMPDIR/work.sh" <<'SCRIPT'
set -eu
repo=$(mktemp -d "$TMPDIR/repo.XXXXXX")
cd "$repo"
git init -q -b main .
git config gc.auto 0
# 300 commits come as one stream, as an import has them; their files are real sources of this tree, growing.
cat "$ROOT"/alloc/*.h "$ROOT"/sizeclass/*.h >"$repo/text"
{
  for i in $(seq 1 300); do
    echo "commit refs/heads/main"
    echo "committer a <a@b> $((1600000000 + i)) +0000"
    echo "data <<MESSAGE"
    echo "commit number $i"
    echo "MESSAGE"
    for k in 1 2 3; do
      echo "M 100644 inline folder$((i % 7))/file$(((i * k) % 40)).txt"
      echo "data <<CONTENT_END"
      head -n $((i + k * 10)) text
      echo "line $i $k"
      echo "CONTENT_END"
    done
    echo
  done
} >stream
git fast-import --quiet <stream
rm stream text
git reset -q --hard main
git log --format='%H %s' | sha256sum
for i in $(seq 1 12); do
  git checkout -q -b "topic$i" "main~$((i * 5))"
  echo "topic $i" >"topic$i.txt"
  git add .
  git commit -q -m "topic $i"
  git checkout -q main
  git merge -q --no-ff -m "merge $i" "topic$i"
done
git rev-parse HEAD
git diff --stat main~40 main | tail -n 1
git log --oneline --graph | cksum
git blame folder1/file3.txt | cksum
git grep -c ashlar main -- folder1 | cksum
git gc -q --prune=now
git fsck --full --strict
git count-objects -v | grep -E '^(count|packs|in-pack)'
git clone -q --no-local . ../"$(basename "$repo")".copy
git -C ../"$(basename "$repo")".copy rev-parse HEAD
git archive HEAD | sha256sum
rm -rf "$repo" "$repo.copy"
SCRIPT

same_on_ashlar git 5000 bash "$TMPDIR/work.sh"
check "git: nothing loose" grep -qx "count: 0" "$TMPDIR/git.default.out"
check "git: one pack" grep -qx "packs: 1" "$TMPDIR/git.default.out"
finish
