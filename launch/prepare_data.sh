#!/usr/bin/env bash
# Prepare a TFDS data set as ArrayRecord files, and copy it to a bucket as gs://BUCKET/tfds.
#
# Usage: bash launch/prepare_data.sh [--dry-run] NAME [--manual-dir=DIR] [--arrays]
#   NAME          TFDS name, such as imagenet2012, cifar10 or imagenette/320px-v2
#   --dry-run     print the commands without running them
#   --manual-dir  folder of archives whose license requires a manual download (default:
#                 DATA_DIR/downloads/manual)
#   --arrays      also write the splits as .npz files to DATA_DIR/arrays/NAME, for small images of one shape;
#                 they are read without TensorFlow (config.data.name=images)
# Environment variables:
#   BUCKET        bucket to copy to; BUCKET= (empty) copies nothing
#   DATA_DIR      folder in which the data is prepared (default: ~/tfds): a disk with space for the archives
#                 and twice the data
# Example: BUCKET=my-bucket bash launch/prepare_data.sh imagenet2012 --manual-dir=/archives
set -euo pipefail

# shellcheck source=launch/environment.sh
source "$(dirname "${BASH_SOURCE[0]}")/environment.sh"
# shellcheck source=launch/settings.sh
source "$repository/launch/settings.sh"
help_from_header "$@"

name=${1:-}
data_dir=${DATA_DIR:-$HOME/tfds}
manual_dir=$data_dir/downloads/manual
arrays=
for argument in "${@:2}"; do
  case $argument in
    --manual-dir=*) manual_dir=${argument#--manual-dir=} ;;
    --arrays) arrays=arrays/$name ;;
    *) add_problem "$argument: unknown argument; the arguments are --manual-dir=DIR and --arrays" ;;
  esac
done
case $name in
  "" | -*) add_problem "the data set is missing, as in: bash launch/prepare_data.sh imagenet2012" ;;
  imagenet2012 | imagenet2012:* | imagenet2012_subset*)
    for archive in ILSVRC2012_img_train.tar ILSVRC2012_img_val.tar; do
      [[ -e $manual_dir/$archive ]] || add_problem "$manual_dir/$archive is missing: download it from" \
        "https://image-net.org, which requires an account; --manual-dir names another folder"
    done
    ;;
esac
[[ $data_dir != *://* ]] || \
  add_problem "DATA_DIR is '$data_dir', but must be on a disk: data is copied to BUCKET from there"
[[ -n ${BUCKET+set} ]] || add_problem "BUCKET is not set: the bucket to copy to; BUCKET= copies nothing"
exit_on_problems
strip_bucket_url

make_environment ""
run "$venv/bin/python" launch/prepare_data.py "$name" "$data_dir" "$manual_dir" ${arrays:+"$data_dir/$arrays"}
folder=${name%%[/:]*} # NAME may be folder/config:version
if [[ -n $BUCKET ]]; then
  for part in "$folder" ${arrays:+"$arrays"}; do
    run gcloud storage rsync --recursive "$data_dir/$part" "gs://$BUCKET/tfds/$part"
  done
fi
