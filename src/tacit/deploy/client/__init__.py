"""The data owner's side: policy, durable answers, user code kept in a child process."""
