# shellcheck shell=bash
# Sourced: which commit of the repository is sent to other machines.

# COMMIT becomes that of REF, or of HEAD when nothing is uncommitted: what runs has a name, and a pod
# that is made anew next week gets the same.
# shellcheck disable=SC2154  # repository: environment.sh
pin_commit() {
  local changes
  if ! changes=$(git -C "$repository" status --porcelain); then
    say "error: $repository is not a git repository: clone it, since what is sent is a commit"
    exit 2
  fi
  if [[ -z ${REF:-} && -n $changes ]]; then
    say "error: these files are not committed, and would not be sent:"
    say "$(head -n 10 <<<"$changes")"
    say "commit them, or say REF=HEAD to send the last commit without them"
    exit 2
  fi
  if ! COMMIT=$(git -C "$repository" rev-parse --quiet --verify "${REF:-HEAD}^{commit}"); then
    say "error: REF: there is no commit ${REF:-HEAD}"
    exit 2
  fi
}

# archive FOLDER FILE: the commit as a .tar.gz whose files are in FOLDER.
archive() {
  run git -C "$repository" archive --format=tar.gz --prefix="$1/" --output="$2" "$COMMIT"
}
