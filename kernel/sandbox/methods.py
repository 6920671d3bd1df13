"""The methods of Kaggle's protocol that the sandbox answers, by name."""

from . import datasets, kernels, service, submissions

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
    "CreateDataset": datasets.create_dataset,
    "GetDatasetStatus": datasets.get_dataset_status,
    "ListDatasetFiles": datasets.list_dataset_files,
}
