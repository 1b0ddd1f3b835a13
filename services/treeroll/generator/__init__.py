"""Generator replicas: an engine, a segmenter that cuts its token stream, and a session with the coordinator."""
