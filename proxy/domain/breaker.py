"""A circuit breaker, as one worker counts for one lane; what it decides is the store's, for all workers."""


class Breaker:
    """Opens after `failures` requests in a row that the provider failed, each for another job.

    One job that the provider fails each time stops no others; any other answer starts the count anew. `is_open` says
    that the lane stands as far as this worker knows, for whatever reason: whoever reads the store sets it too.
    """

    def __init__(self, failures: int) -> None:
        self._most = failures
        self._failed: set[str] = set()
        self.is_open = False

    def answered(self) -> None:
        """The provider answered, and not that it is in trouble."""
        self._failed.clear()

    def failed(self, job_id: str) -> bool:
        """The provider failed a request for this job. True while that is no job's fault: the lane is to stand."""
        if not self.is_open:
            self._failed.add(job_id)
            if len(self._failed) >= self._most:
                self._failed.clear()
                self.is_open = True
        return self.is_open
