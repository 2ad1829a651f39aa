"""What a request may cost, before it goes to the app: a call, a job, a batch, a session around the gateway."""
