"""What a coordinator keeps: members, runs, journals in SQL; models and answers as blobs."""
