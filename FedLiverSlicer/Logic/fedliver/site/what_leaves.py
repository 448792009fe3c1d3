"""What leaves a site, in words: one word for every field that a message can hold. Tests compare the fields with the code, and docs/privacy.md with this."""

NUMBERS = {
    "error": "0, or why there is no update: one of the numbers in the table below",
    "cases": "how many approved cases trained the update",
    "unlabelled": "how many scans without approval trained it too; 0 unless the federation's policy, in your invitation, says that they do",
    "loss": "the mean training loss, four digits; withheld below the minimum of patients, and with noise on",
    "seconds": "how long training took, in whole seconds",
    "dice": "the mean Dice of the model that came in, on the site's held-out cases, four digits; withheld below the minimum of patients, and with noise on",
    "dice_cases": "how many held-out cases that mean is over; 0 where it is withheld",
}
"""The numbers of an answer, by the names that they travel under."""

REQUEST = {
    "kind": "that the file is an enrolment request",
    "version": "the file's version",
    "invitation": "which invitation it answers: the random number that the coordinator wrote into it",
    "site_name": "the site's name, as the coordinator wrote it into the invitation",
    "public_key": "the public half of the site's key; the private half is made at the site and stays there",
}
"""The fields of the enrolment request, a file that a person sends."""


MASKED = {
    "public_key": "the public half of the site's enrolled key, as in its enrolment request",
    "sealing_key": "the public half of a key made for this round, with which other sites seal what is for this one",
    "masking_key": "the public half of another such key, from which the masks between this site and each other one are made",
    "seed_hash": "a hash of the random seed of the site's own mask",
    "signature": "the enrolled key's signature under these and a hash of what the site was asked to do",
    "envelopes": "shares of the seed and of the private half of the masking key, sealed for one other site each",
    "seeds": "when the sum is opened: this site's shares of the seeds of the sites in it",
    "keys": "when the sum is opened: this site's shares of the masking keys of the sites that were lost",
    "numbers": "which sites' envelopes could not be read, if any",
    "step, session, round, rounds": "the step, round and session that the coordinator named, given back",
}
"""What leaves in the steps of a masked sum beside the masked update itself, by the names that it travels under."""
