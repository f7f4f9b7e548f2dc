"""What happened: in from AWS, out to sockets. Knows rows and events, neither GraphQL types nor who is looking."""
