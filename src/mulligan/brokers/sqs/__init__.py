"""Amazon SQS behind the seam `brokers.base`. Needs the extra `mulligan[sqs]`.

`sign` -> `codec` -> `http` -> `client` -> `broker`: each knows only those before it. botocore is asked for credentials,
region and endpoint (`environment`) and for nothing else.
"""
