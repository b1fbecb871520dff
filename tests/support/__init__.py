"""What tests of several folders share: real processes, and real servers that misbehave on demand."""
