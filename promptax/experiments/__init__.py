"""What is measured, once: experiments, sweeps over them, and the folders they leave."""
