"""Images that maximize units: the job, its checkpoint and its results."""
