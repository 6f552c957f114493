"""Who is calling and what they may do: access tokens from any issuer, scopes and roles, PKCE, and the embedded provider."""
