"""The core without processes: worlds that check its promises after every event, and large fleets in virtual time."""
