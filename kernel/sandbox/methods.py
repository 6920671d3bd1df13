"""The methods of Kaggle's protocol that the sandbox answers, and the types of their fields."""

import json

from pcam_kaggle.system.paths import COMPETITION

from . import kernels, service, submissions

METHODS = {
    "IntrospectToken": service.introspect_token,
    "GetAcceleratorQuotaStatistics": service.get_accelerator_quota_statistics,
    "SaveKernel": kernels.save_kernel,
    "GetKernel": kernels.get_kernel,
    "GetKernelSessionStatus": kernels.get_kernel_session_status,
    "ListKernelSessionOutput": kernels.list_kernel_session_output,
    "ListKernelFiles": kernels.list_kernel_files,
    "GetCompetition": submissions.get_competition,
    "ListDataFiles": submissions.list_data_files,
    "DownloadDataFile": submissions.download_data_file,
    "DownloadDataFiles": submissions.download_data_files,
    "GetSubmissionLimits": submissions.get_submission_limits,
    "StartSubmissionUpload": submissions.start_upload,
    "CreateSubmission": submissions.create_submission,
    "GetSubmission": submissions.get_submission,
    "ListSubmissions": submissions.list_submissions,
    "GetLeaderboard": submissions.get_leaderboard,
    "DownloadLeaderboard": submissions.download_leaderboard,
    "StartBlobUpload": submissions.start_upload,
    "CreateDataset": submissions.create_dataset,
    "GetDatasetStatus": submissions.get_dataset_status,
    "ListDatasetFiles": submissions.list_dataset_files,
}
# The fields that are no text.
INTEGERS = "id priority sessionTimeoutSeconds pageSize page ref contentLength datasetVersionNumber"
INTEGERS += " lastModifiedEpochSeconds benchmarkModelVersionId"
FLAGS = "isPrivate enableGpu enableTpu enableInternet overridePublic sandbox"
LISTS = "datasetDataSources kernelDataSources competitionDataSources modelDataSources categoryIds"
TYPES = {
    **dict.fromkeys(INTEGERS.split(), int),
    **dict.fromkeys(FLAGS.split(), bool),
    **dict.fromkeys([*LISTS.split(), "files", "directories"], list),
}


def read_request(body: bytes) -> dict:
    """The fields of a request that are set.

    Raises:
        Refusal: 400, no JSON object, or a field of another type; 404, another competition.
    """
    try:
        request = json.loads(body or b"{}")
        json.dumps(request, ensure_ascii=False, allow_nan=False).encode()  # is it Unicode?
    except (ValueError, RecursionError):
        request = None
    if not isinstance(request, dict):
        raise service.Refusal(400, "Expected: a JSON object")
    request = {name: value for name, value in request.items() if value is not None}
    for name, value in request.items():
        kind = TYPES.get(name, str)
        item = dict if name in ("files", "directories") else str
        if (
            type(value) is not kind
            or (kind is int and abs(value) >= 1 << 63)
            or (kind is list and any(type(one) is not item for one in value))
        ):
            raise service.Refusal(400, f"{name} is not of the expected type")
    if request.get("competitionName", COMPETITION) != COMPETITION:
        raise service.Refusal(404, "Not found")
    return request
