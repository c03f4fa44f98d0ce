"""Back up collections and move them: dumps, which every store reads, and snapshots of servers."""
