"""PyJWT behind lines of JSON: the first one sets it up, each later one is a token, answered by one line."""

import json
import sys

import jwt


class CountingClient(jwt.PyJWKClient):
    fetches = 0

    def fetch_data(self):
        CountingClient.fetches += 1
        return super().fetch_data()


def main():
    setup = json.loads(sys.stdin.readline())
    # The wait after an unknown kid keeps its default of 30 s: a key that came too late is not looked for again.
    clients = {
        one["issuer"]: (one, CountingClient(one["jwksUri"], lifespan=setup["maxAgeSeconds"], timeout=20))
        for one in setup["trusted"]
    }
    for line in sys.stdin:
        asked = json.loads(line)
        refusal = None
        try:
            one, client = clients[asked["issuer"]]
            key = client.get_signing_key_from_jwt(asked["token"])
            jwt.decode(
                asked["token"],
                key,
                algorithms=["ES256"],
                issuer=one["issuer"],
                audience=one["audience"],
                leeway=setup["leewaySeconds"],
                options={"require": ["exp", "iss", "aud"]},
            )
        except Exception as error:  # whatever it is, the token was not accepted
            refusal = f"{type(error).__name__}: {error}"
        answer = {"id": asked["id"], "refusal": refusal, "fetches": CountingClient.fetches}
        print(json.dumps(answer), flush=True)


main()
