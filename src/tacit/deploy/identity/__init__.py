"""Who is who: keys, certificates, invitations."""
