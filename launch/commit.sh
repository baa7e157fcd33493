# shellcheck shell=bash
# Sourced: the commit of the repository that is sent to other machines.

# Set COMMIT to the commit of REF, or of HEAD if nothing is uncommitted: the code of a run has a name, and
# a slice that is created again later gets the same code.
# shellcheck disable=SC2154  # repository: environment.sh
pin_commit() {
  local changes
  if ! changes=$(git -C "$repository" status --porcelain); then
    log "error: $repository is not a git repository; clone it, because a commit is sent to the hosts"
    exit 2
  fi
  if [[ -z ${REF:-} && -n $changes ]]; then
    log "error: these files are not committed and would not be sent:"
    log "$(head -n 10 <<<"$changes")"
    log "commit them, or set REF=HEAD to send the last commit without them"
    exit 2
  fi
  if ! COMMIT=$(git -C "$repository" rev-parse --quiet --verify "${REF:-HEAD}^{commit}"); then
    log "error: REF: there is no commit ${REF:-HEAD}"
    exit 2
  fi
}

# archive FOLDER FILE: write the commit as a .tar.gz whose files are in FOLDER.
archive() {
  run git -C "$repository" archive --format=tar.gz --prefix="$1/" --output="$2" "$COMMIT"
}
