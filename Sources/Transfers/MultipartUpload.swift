import RemoteAPI
