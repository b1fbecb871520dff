"""`sniffer doctor`: asks the systems around us what the settings promise."""
